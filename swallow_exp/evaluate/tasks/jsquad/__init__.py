"""JSQuAD: Japanese reading comprehension; the answer is a span of the paragraph. See README.md in this folder."""
