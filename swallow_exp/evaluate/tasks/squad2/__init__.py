"""SQuAD 2.0: English reading comprehension; half of the questions have no answer in their paragraph. See README.md in this folder."""
