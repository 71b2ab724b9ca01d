"""GSM8K: word problems of elementary arithmetic, solved step by step. See README.md in this folder."""
