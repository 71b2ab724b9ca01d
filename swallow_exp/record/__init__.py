"""Records of runs: the only thing analysis may see. Missing is absent, never -1 or 0."""
