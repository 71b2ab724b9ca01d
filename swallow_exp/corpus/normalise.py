"""Normalise text: leave it alone, or Unicode NFKC.

Source: paper 3.2 (NFKC belongs to vocabulary expansion there); here it is a choice of its own, so that its effect can be told apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from swallow_exp.artefact.errors import RequestError

NORMALIZATIONS = ("none", "nfkc")


def normaliser(name: str) -> Callable[[str], str]:
    """The function for `none` or `nfkc`. Raises RequestError for any other name."""
    if name == "none":
        return _unchanged
    if name == "nfkc":
        return _nfkc
    raise RequestError(f"normalization={name}", expected=f"one of {', '.join(NORMALIZATIONS)}", remedy="correct it in the source file")


def _unchanged(text: str) -> str:
    return text


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
