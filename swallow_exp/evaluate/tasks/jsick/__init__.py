"""JSICK: inference between translated captions. See README.md in this folder."""
