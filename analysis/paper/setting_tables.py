"""Tables 1, 2, 3, 6, 7, 8 and 10, and the computation of Appendix D.4, as functions of rows.

Reads/Writes  nothing.  Source  paper Tables 1-3, 6-8, 10, Appendix D.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from analysis.paper.rows import LayoutRow, ModelRow, PairsRow, ShapeRow, TaskRow, ThroughputRow
from analysis.table import Table
from analysis.wording import ABSENT, plain, tokens_text

FORMATS = {"next_token_prediction": "Next Token Prediction", "translation_instruction": "Translation Instruction"}
ORDERS = {"mixed": "Mixed", "two_staged": "Two-staged"}
SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
Field = tuple[str, float | None]  # as printed, and the number behind it


def table1(rows: Sequence[ShapeRow], caption: str) -> Table:
    """Architecture and hyperparameters."""
    columns = ("Params", "d_model", "# Heads", "# Layers", "Context length", "GQA", "# Tokens", "LR")
    return _table(
        "table1",
        caption,
        columns,
        [
            [
                (row.label, None),
                *(_count(n) for n in (row.hidden_size, row.num_heads, row.num_layers, row.context_length)),
                _sign(row.grouped_queries),
                _shown(row.tokens, tokens_text),
                _shown(row.learning_rate, scientific),
            ]
            for row in rows
        ],
    )


def tasks_table(name: str, rows: Sequence[TaskRow], caption: str) -> Table:
    """Table 2 or 3, turned: a row a dataset (the paper has a column a dataset)."""
    columns = ("Dataset", "Benchmark", "Eval. task", "Instances", "Few-shots", "Eval. metric")
    fields = [(row.column, row.benchmark, row.category, row.instances, row.num_fewshot, row.metric) for row in rows]
    return _table(
        name, caption, columns, [[(text, _number(text) if j in (3, 4) else None) for j, text in enumerate(line)] for line in fields]
    )


def _number(text: str) -> float | None:
    """Of a count as it is printed; None for a range."""
    plain_text = text.replace(",", "")
    return float(plain_text) if plain_text.isdigit() else None


def table6(rows: Sequence[LayoutRow], caption: str) -> Table:
    """How one model was spread over devices."""
    columns = ("Number of Parameters", "DP", "TP", "PP", "SP", "Distributed Optimizer", "Devices")
    return _table(
        "table6",
        caption,
        columns,
        [
            [
                (row.label, None),
                *(_count(n) for n in (row.data_parallel, row.tensor_parallel, row.pipeline_parallel)),
                _sign(row.sequence_parallel),
                _sign(row.distributed_optimizer),
                _count(row.devices),
            ]
            for row in rows
        ],
    )


def table7(rows: Sequence[ThroughputRow], caption: str) -> Table:
    """TFLOPS per device."""
    return _table(
        "table7",
        caption,
        ("# Params", "# Nodes", "TFLOPS/GPU", "Execution efficiency"),
        [
            [
                (row.label, None),
                _count(row.nodes),
                _shown(row.tflops_per_device, lambda rate: f"{rate:.3g}"),
                _shown(row.execution_efficiency, lambda share: f"{100 * share:.1f} %"),
            ]
            for row in rows
        ],
    )


def compute_table(rows: Sequence[ThroughputRow], caption: str) -> Table:
    """Computation of each training run (Appendix D.4)."""
    return _table("appendix_d4", caption, ("# Params", "FLOPs"), [[(row.label, None), _shown(row.flops, scientific)] for row in rows])


def table8(rows: Sequence[PairsRow], caption: str) -> Table:
    """Uses of a parallel corpus. The first column, of names, only where rows have any."""
    named = any(row.label for row in rows)
    columns = (*(["Cell"] if named else []), "Task format", "Training seq.", "Training tokens of the pairs")
    return _table(
        "table8",
        caption,
        columns,
        [
            [
                *([(row.label, None)] if named else []),
                (FORMATS.get(row.format, row.format), None),
                (ORDERS.get(row.order, row.order), None),
                _shown(row.tokens, tokens_text),
            ]
            for row in rows
        ],
    )


def table10(rows: Sequence[ModelRow], caption: str) -> Table:
    """The models that were evaluated."""
    where = "Model name on Hugging Face" + (", or run" if any(row.is_run for row in rows) else "")
    return _table(
        "table10", caption, ("Model", "Training detail", where), [[(t, None) for t in (r.label, r.training, r.where)] for r in rows]
    )


def scientific(value: float) -> str:
    """5e21 -> `5.0 × 10²¹`."""
    exponent = math.floor(math.log10(abs(value))) if value else 0
    mantissa = round(value / 10.0**exponent, 1)
    if abs(mantissa) >= 10:
        mantissa, exponent = mantissa / 10, exponent + 1
    return f"{plain(mantissa, 1)} × 10{str(exponent).translate(SUPERSCRIPT)}"


def _shown(value: float | None, text: Callable[[float], str]) -> Field:
    return (ABSENT, None) if value is None else (text(value), float(value))


def _count(value: int | None) -> Field:
    return _shown(value, lambda number: f"{number:.0f}")


def _sign(value: bool | None) -> Field:
    return (ABSENT if value is None else "✓" if value else "×", None)


def _table(name: str, caption: str, columns: Sequence[str], lines: Sequence[Sequence[Field]]) -> Table:
    return Table(
        name=name,
        caption=caption,
        columns=tuple(columns),
        rows=tuple(tuple(text for text, _ in line) for line in lines),
        values=tuple(tuple(value for _, value in line) for line in lines),
    )
