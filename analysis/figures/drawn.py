"""A figure as the page shows it.

Reads/Writes  nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PageFigure:
    """A rendered figure with its words."""

    name: str
    title: str
    svg: str
    alt: str
    caption: str
