"""Contrasts to claims: paired intervals, adjusted verdicts, and what can be said at all."""
