"""XWINO: English Winograd schemas; which of two nouns makes the rest of the sentence likelier. See README.md in this folder."""
