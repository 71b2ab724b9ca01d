"""Records and claims as figures."""
