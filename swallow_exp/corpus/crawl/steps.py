"""The crawl's functions as datatrove steps; what each drops is counted by reason in datatrove's statistics.

ReadPages      archives of this task       -> documents (HTML or plain text)
Sieve          a function that finds fault -> the documents without one
ExtractText    HTML                        -> main text, in a process of its own with a time limit (trafilatura)
Signatures     text                        -> MinHash of character n-grams (words would need a Japanese segmenter per page)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors.base import ExtractorSandbox
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from swallow_exp.corpus.crawl.pages import read_pages
from swallow_exp.corpus.crawl.rules import comparable, japanese_stops

SHINGLES_AT_ONCE = 4096  # bounds memory: each takes 8 bytes per hash
DROPPED = "dropped_"


class ReadPages(PipelineStep):  # type: ignore[misc]
    """Pages of every `world_size`-th archive, from the `rank`-th on."""

    type, name = "read", "pages"
    _requires_dependencies = ["warcio"]  # noqa: RUF012  # datatrove looks it up on the class

    def __init__(self, paths: Sequence[str]) -> None:
        """paths: of archives that can be opened here."""
        super().__init__()
        self.paths = list(paths)

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield one document a page."""
        for path in self.paths[rank::world_size]:
            with open(path, "rb") as stream:
                for page in read_pages(stream, lambda what: self.stat_update("total" if what == "records" else DROPPED + what)):
                    self.stat_update("forwarded")
                    metadata = {"url": page.url, "date": page.date, "is_html": page.is_html}
                    yield Document(text=page.text, id=page.id, metadata=metadata)


class Sieve(BaseFilter):  # type: ignore[misc]
    """Keeps documents in which `fault(document)` finds none."""

    def __init__(self, name: str, fault: Callable[[Any], str | None]) -> None:
        """fault: the reason to drop a document, or None."""
        self.name, self.fault = name, fault  # the name before datatrove takes it for its statistics
        super().__init__()

    def filter(self, doc: Any) -> bool | tuple[bool, str]:
        """Datatrove's question: keep it?"""
        reason = self.fault(doc)
        return True if reason is None else (False, reason)


class ExtractText(PipelineStep):  # type: ignore[misc]
    """The main text of HTML pages, with Japanese stops; plain text only gets the stops."""

    type, name = "extract", "main text"
    _requires_dependencies = ["trafilatura"]  # noqa: RUF012

    def __init__(self, seconds: float) -> None:
        """seconds: a page may take."""
        super().__init__()
        self.seconds = seconds

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Yield the documents that have a main text."""
        import trafilatura  # noqa: F401  # before the process is started, which then need not import it within its time

        with ExtractorSandbox(timeout=self.seconds) as sandbox:
            for document in data:
                self.stat_update("total")
                reason = self._extract(document, sandbox) if document.metadata.pop("is_html") else None
                if reason is None:
                    document.text = japanese_stops(document.text)
                    self.stat_update("forwarded")
                    yield document
                else:
                    self.stat_update("dropped", DROPPED + reason)

    def _extract(self, document: Any, sandbox: Any) -> str | None:
        try:
            document.text = sandbox.process_document(document.text, main_text) or ""
        except TimeoutError:
            return "extraction took too long"
        except EOFError:
            return "extraction crashed"
        except Exception:  # whatever a page makes the parsers raise concerns this page alone
            return "extraction failed"
        return None if document.text.strip() else "no main text"


def main_text(html: str) -> str | None:
    """The main text of a page, or None when there is none."""
    import trafilatura

    text: str | None = trafilatura.extract(html, favor_precision=True, include_comments=False, include_tables=False, deduplicate=False)
    return text


class Signatures(MinhashDedupSignature):  # type: ignore[misc]
    """Datatrove's MinHash signatures over character n-grams of the letters and digits alone."""

    def __init__(self, output_folder: str, config: MinhashConfig) -> None:
        """config.n_grams counts characters."""
        super().__init__(output_folder, config, WhitespaceTokenizer())  # never asked: others would have to be installed

    def get_shingles(self, text: str) -> Any:
        """Hashes of all n-grams, (N, 1) uint64."""
        letters, size = comparable(text), self.config.n_grams
        grams = {letters[start : start + size].encode() for start in range(len(letters) - size + 1)}
        return np.fromiter(map(self._hash_func, sorted(grams)), dtype=np.uint64, count=len(grams)).reshape(-1, 1)

    def get_signature(self, shingles: Any) -> list[list[int]]:
        """The smallest hashes per bucket, a block of shingles at a time."""
        blocks = [shingles[start : start + SHINGLES_AT_ONCE] for start in range(0, len(shingles), SHINGLES_AT_ONCE)]
        parts = np.array([super(Signatures, self).get_signature(block) for block in blocks], dtype=np.uint64)
        smallest: list[list[int]] = parts.min(axis=0).tolist()
        return smallest


def fault_of_text(document: Any, *, fault: Callable[..., str | None], **choices: Any) -> str | None:
    """`fault(text, ...)`, as a function of the document."""
    return fault(document.text, **choices)


def fault_of_url(document: Any, *, fault: Callable[..., str | None], **choices: Any) -> str | None:
    """`fault(url, ...)`, as a function of the document."""
    return fault(document.metadata["url"], **choices)


def fault_before_extraction(document: Any, *, looks_japanese: Callable[[str], bool]) -> str | None:
    """Plain text has no tags to look at: it is judged after extraction alone."""
    if document.metadata["is_html"] and not looks_japanese(document.text):
        return "neither tag nor title"
    return None
