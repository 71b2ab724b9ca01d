"""Jamp: inference about time. See README.md in this folder."""
