"""Records and claims as tables."""
