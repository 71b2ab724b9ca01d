"""The browser of items that changed sides: its controls, and the texts it shows, as many as fit.

(1) fit      so many texts a group that the data stay below BUDGET_BYTES                    -> how many
(2) pool     every text once, groups refer to it by number (contrasts share questions)      -> data for the script
(3) render   controls that the script fills; without it, the files are named                -> html

Reads/Writes  nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from analysis.flips import KEPT, FlipGroup, flips_table
from analysis.page.blocks import Numbers, address, embedded, folded, table_card

BUDGET_BYTES = 2_000_000
LONGEST_TEXT = 6_000  # letters; the middle of a longer one is only in the file
STEPS = (KEPT, 20, 10, 6, 4, 2, 0)  # texts a group, the most that fits


def flips_section(groups: Sequence[FlipGroup], numbers: Numbers) -> str:
    """Counts of every group, and the browser. groups: those of analysis.flips.gather_flips."""
    if not groups:
        return "<p>No task has a score for each item on both sides of a comparison, so no item can be said to have changed sides.</p>"
    data, kept = fitting(groups)
    capped = "" if kept == KEPT else f" To keep this page small, {kept} items a comparison and task are on it; the files have all."
    return (
        "<p>Which questions a choice got right that were wrong before, and which it lost; also each trained cell against the weights it "
        f"started from. The largest changes of score come first.{capped}</p>\n"
        f"{_browser()}"
        '<noscript><p class="note">Without JavaScript the texts are in the files below.</p></noscript>\n'
        f"{folded('Table: how many items changed sides, in every comparison', table_card(flips_table(groups), numbers))}"
        f"{folded('Files with every item that changed sides', _files(groups))}"
        f"{embedded('flips-data', data)}"
    )


def _browser() -> str:
    return (
        '<div class="browser card" hidden><div class="filters">'
        '<label class="field wide" for="flip-comparison">Comparison<select id="flip-comparison"></select></label>'
        '<label class="field wide" for="flip-task">Task<select id="flip-task"></select></label>'
        '<label class="field wide" for="flip-search">Search question, gold and answers'
        '<input type="search" id="flip-search" autocomplete="off"></label></div>'
        '<div class="tabs" role="tablist" aria-label="Direction of the change">'
        '<button type="button" role="tab" id="flip-won" aria-selected="true" aria-controls="flip-list" tabindex="0">Won</button>'
        '<button type="button" role="tab" id="flip-lost" aria-selected="false" aria-controls="flip-list" tabindex="-1">Lost</button></div>'
        '<p id="flip-means" class="note"></p><p id="flip-told" class="note" role="status"></p>'
        '<details id="flip-beginning"><summary>What every question here begins with</summary></details>'
        '<div id="flip-list" role="tabpanel" aria-labelledby="flip-won"></div></div>\n'
    )


def _files(groups: Sequence[FlipGroup]) -> str:
    items = "".join(
        f'<li><a href="{address(f"flips/{group.name}.jsonl")}">{escape(group.name)}.jsonl</a>: {group.won} won, {group.lost} lost</li>'
        for group in groups
    )
    beginnings = '<a href="flips/beginnings.json">beginnings.json</a>'
    return f'<p class="note">One JSON object a line; {beginnings} has what comes before each prompt_end.</p><ul>{items}</ul>'


def fitting(groups: Sequence[FlipGroup]) -> tuple[dict[str, Any], int]:
    """The data of the browser, and how many items of a group it has at most; counts are always whole."""
    for kept in STEPS:
        data = pooled_data(groups, kept)
        if len(json.dumps(data, ensure_ascii=False).encode()) <= BUDGET_BYTES:
            break
    return data, kept


def pooled_data(groups: Sequence[FlipGroup], kept: int) -> dict[str, Any]:
    """{"texts": [...], "groups": [{"comparison", "task", ..., "rows": [{"id", "won", "texts", "scores"}]}]}.

    `texts` of a row: numbers of the prompt's end, the gold answer, the baseline's answer and this side's.
    """
    pool: dict[str, int] = {"": 0}

    def number(text: str) -> int:
        return pool.setdefault(shortened(text), len(pool))

    entries = [
        {
            "comparison": group.comparison,
            "task": group.measure,
            "baseline": group.baseline_side,
            "side": group.side,
            "file": address(f"flips/{group.name}.jsonl"),
            "items": group.num_items,
            "won": group.won,
            "lost": group.lost,
            "beginning": number(group.beginning) if kept else 0,
            "rows": [
                {
                    "id": flip.item_id,
                    "won": flip.won,
                    "texts": [
                        number(text)
                        for text in (flip.prompt[len(group.beginning) :], flip.reference, flip.baseline_prediction, flip.prediction)
                    ],
                    "scores": [round(flip.baseline_score, 4), round(flip.score, 4)],
                }
                for flip in group.kept[:kept]
            ],
        }
        for group in groups
    ]
    return {"texts": list(pool), "groups": entries}


def shortened(text: str) -> str:
    """Both ends of a text that is too long for the page, and how much is left out."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters are only in the file …]\n{text[-half:]}"
