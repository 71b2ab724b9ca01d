"""A made-up sweep whose items have texts, in Japanese and hostile to HTML, for tests of the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from synthetic_study import BUDGET, write_null_study, write_run, write_sweep

from analysis.report import build_report
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.store import ITEMS_NAME

TASKS = ("mini_choice", "mini_reading", "mini_en_ja", "heldout_japanese")
CELLS = ("none", "mixed", "staged")
BEGINNING = "質問に答えてください。\n例: 日本の首都は。東京。\n"
VOID = {"meta", "br", "link", "img", "input", "wbr", "use", "path"}


def write_page_study(out: Path) -> Path:
    """The report's folder. Level `staged` runs still, `never` has no run; items of mini_choice and mini_reading have texts."""
    write_sweep(
        out, [*CELLS, "never"], question="Does <parallel> text help & how? 対訳は?", expects="translation gains, nothing else moves"
    )
    write_run(out, "none-s0", "none", tasks=TASKS, marks=(0.0, 0.5, 1.0))
    write_run(out, "mixed-s0", "mixed", tasks=TASKS, marks=(0.0, 0.5, 1.0), effects={"mini_en_ja": 1.2, "mini_choice": 0.8})
    write_run(out, "staged-s0", "staged", tasks=TASKS[:2], marks=(0.0, 0.5), state="running")
    write_null_study(out, "none-s0")
    for cell, last in zip(CELLS, (BUDGET, BUDGET, BUDGET // 2), strict=True):
        for tokens in (0, last):
            for task in TASKS[:2]:
                give_texts(out, f"{cell}-s0", tokens, task)
    facts = {"git": {"commit": "c0ffee", "dirty": True, "diff_sha256": "d1f" * 20}, "versions": {"torch": "2"}, "argv": ["train", "a=<b>"]}
    inputs = {"weights": {"folder": "artefacts/weights/w", "digest": "ab" * 32}, "tokens": {"wiki": {"folder": "t", "digest": "cd" * 32}}}
    RunPaths.of(out, "mixed-s0").provenance.write_text(json.dumps({**facts, "inputs": inputs}), encoding="utf-8")
    return build_report(out, "parallel").parent


def give_texts(out: Path, run_id: str, tokens: int, task: str) -> None:
    """Questions that begin alike, answers that tell run and checkpoint; every tenth is long, every seventh looks like markup."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = RunPaths.of(out, run_id).evaluation(tokens, task) / ITEMS_NAME
    table = pq.read_table(path)
    ids = table["item_id"].to_pylist()
    prompts = [f"{BEGINNING}問{i}: {'長い文章です。' * 200 if i % 10 == 0 else '短い文。'}\n何番ですか。\n答え:" for i in range(len(ids))]
    answers = [f"{run_id} at {tokens}: </script><b>http://x.test/{i}</b>" if i % 7 == 0 else f"{tokens}番" for i in range(len(ids))]
    for name, texts in (("prompt", prompts), ("prediction", answers), ("reference", [f"{i}番" for i in range(len(ids))])):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(texts))
    pq.write_table(table, path)


class Outline(HTMLParser):
    """What a page is made of, read without running it: open tags, headings, ids, labels, addresses and embedded data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.drawings: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.labelled: list[str] = []
        self.references: list[str] = []
        self.data: dict[str, Any] = {}
        self.words: list[str] = []
        self._embedded: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag[0] == "h" and tag[1:].isdigit():
            self.levels.append(int(tag[1]))
        self.ids += [given["id"]] if given.get("id") else []
        self.addresses += [value for key in ("src", "href", "xlink:href", "action", "poster", "srcset") if (value := given.get(key))]
        self.references += [value for key in ("aria-labelledby", "aria-controls", "aria-describedby") if (value := given.get(key))]
        if tag == "svg":
            self.drawings.append(given.get("aria-label") or "")
        if tag in ("input", "select"):
            self.fields.append(given)
        if tag == "label":
            self.labelled.append(given["for"] or "")
        self._embedded = given.get("id") if tag == "script" and given.get("type") == "application/json" else None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        self._embedded = None
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._embedded:
            self.data[self._embedded] = json.loads(data)
        elif not {"script", "style"} & set(self.open):
            self.words.append(data)
