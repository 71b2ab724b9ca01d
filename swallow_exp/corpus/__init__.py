"""Documents: read text of any usual format, normalise it, split off what is held out."""
