"""NIILC: open questions that an encyclopedia answers. See README.md in this folder."""
