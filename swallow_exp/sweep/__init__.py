"""Expand a question into cells, build what they need, launch them, say how they are."""
