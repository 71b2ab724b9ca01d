"""What every stage writes and how: paths, manifests, locks, units, errors, progress.

Nothing here knows what a corpus or a model is.
"""
