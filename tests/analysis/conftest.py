"""One report of a made-up sweep for all tests of the page: drawing its figures takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_study import write_page_study


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's folder; tests leave it as it is."""
    return write_page_study(tmp_path_factory.mktemp("page"))
