"""JCommonsenseQA: five choices, the answer is the number of one. See README.md in this folder."""
