"""MGSM: Japanese sums in words, answered step by step. See README.md in this folder."""
