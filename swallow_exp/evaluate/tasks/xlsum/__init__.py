"""XL-Sum: one-sentence summaries of Japanese news articles. See README.md in this folder."""
