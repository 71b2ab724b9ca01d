"""JNLI: inference between captions of one picture. See README.md in this folder."""
