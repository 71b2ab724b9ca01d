"""TriviaQA: trivia questions without any context; a short answer. See README.md in this folder."""
