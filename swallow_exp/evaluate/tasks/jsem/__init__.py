"""JSeM: inference by linguistic phenomenon. See README.md in this folder."""
