"""Decide which documents are held out: by hash of the id, so that neither order nor the other documents matter.

A document is held out when the first 64 bits of sha256(id), read as a fraction of 2**64, lie below `heldout_fraction`.
So a larger fraction holds out all that a smaller one does, and twins with one id in two corpora fall on the same side.
"""

from __future__ import annotations

import hashlib

POSITIONS = 1 << 64


def split_position(document_id: str) -> int:
    """Where the id falls on the line 0 .. 2**64 - 1."""
    return int.from_bytes(hashlib.sha256(document_id.encode("utf-8")).digest()[:8], "big")


def is_heldout(document_id: str, heldout_fraction: float) -> bool:
    """True when the document is kept away from training."""
    assert 0.0 <= heldout_fraction < 1.0, heldout_fraction
    return split_position(document_id) < heldout_fraction * POSITIONS
