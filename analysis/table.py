"""One table in four formats: csv, md, tex (booktabs) and html, all from the same frame.

Best value of a column in bold (ties share it); what is not there is an em dash. csv holds unrounded numbers and empty fields.
Reads  nothing.  Writes  <report>/tables/.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.claims.claim import DEGRADED, EQUIVALENT, HELPS_LESS, HELPS_MORE, IMPROVED, INCONCLUSIVE, NOT_COMPARED, ONE_RUN
from analysis.wording import ABSENT
from swallow_exp.artefact.files import write_text_atomic
from swallow_exp.artefact.paths import ReportPaths

if TYPE_CHECKING:
    import pandas as pd

    from swallow_exp.record.schema import EvaluationRecord

OTHER_TEST = "‡"
VERDICTS = (IMPROVED, DEGRADED, HELPS_MORE, HELPS_LESS, EQUIVALENT, INCONCLUSIVE, ONE_RUN, NOT_COMPARED)
# Unicode that LaTeX's default fonts lack.
LATEX_SIGNS = {
    OTHER_TEST: r"$\ddagger$",
    ABSENT: "---",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$\dagger$",
    "×": r"$\times$",
    "✓": r"$\surd$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
}
LATEX_SIGNS |= {sign: f"$^{{{plain}}}$" for sign, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)}


@dataclass(frozen=True)
class Table:
    """Text as printed, the number behind each field (None: no number or nothing there), and which fields are the best.

    sources: (row, column) -> the evaluations the number is made of, those of the baseline first.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    values: tuple[tuple[float | None, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    rules: frozenset[int] = frozenset()  # rows that a line stands above: blocks of the table
    footer: tuple[tuple[str, ...], ...] = ()
    sources: Mapping[tuple[int, int], tuple[EvaluationRecord, ...]] = field(default_factory=dict)


def write_table(table: Table, paths: ReportPaths) -> None:
    """Write the four formats."""
    for suffix, render in (("csv", as_csv), ("md", as_markdown), ("tex", as_latex), ("html", as_html)):
        write_text_atomic(paths.table(table.name, suffix), render(table))


def as_csv(table: Table) -> str:
    """Unrounded numbers; an absent value is an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    for texts, values in zip(table.rows, table.values, strict=True):
        writer.writerow([value if value is not None else "" if text == ABSENT else text for text, value in zip(texts, values, strict=True)])
    writer.writerows(table.footer)
    return buffer.getvalue()


def _numeric(table: Table) -> list[bool]:
    return [any(row[j] is not None for row in table.values) for j in range(len(table.columns))]


def as_text(table: Table) -> str:
    """For a terminal: columns padded, the best value with a star, blocks apart."""
    marked = [[f"{t}*" if (i, j) in table.best else t for j, t in enumerate(row)] for i, row in enumerate(table.rows)]
    lines = [list(table.columns), *marked, *(list(row) for row in table.footer)]
    widths = [max(len(line[j]) for line in lines) for j in range(len(table.columns))]
    aligned = [
        "  ".join(t.rjust(w) if numeric else t.ljust(w) for t, w, numeric in zip(line, widths, _numeric(table), strict=True)).rstrip()
        for line in lines
    ]
    for row in sorted({0, *table.rules}, reverse=True):
        aligned.insert(1 + row, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(aligned)


def as_markdown(table: Table) -> str:
    """A pipe table with the footer as its last rows."""
    lines = [[f"**{t}**" if (i, j) in table.best else t for j, t in enumerate(row)] for i, row in enumerate(table.rows)]
    body = [
        table.columns,
        ["--:" if numeric else ":--" for numeric in _numeric(table)],
        *lines,
        *([f"*{t}*" for t in row] for row in table.footer),
    ]
    return "\n".join("| " + " | ".join(t.replace("|", "\\|") for t in row) + " |" for row in body) + f"\n\n{table.caption}\n"


def as_latex(table: Table) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    import pandas as pd

    frame = pd.DataFrame([*table.rows, *table.footer], columns=list(table.columns))

    def bold(data: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            [["font-weight: bold" if (i, j) in table.best else "" for j in range(data.shape[1])] for i in range(data.shape[0])],
            index=data.index,
            columns=data.columns,
        )

    styler = frame.style.hide(axis="index").apply(bold, axis=None)
    styler = styler.format(escape="latex").format_index(escape="latex", axis=1)
    text = styler.to_latex(
        hrules=True,
        convert_css=True,
        column_format="".join("r" if numeric else "l" for numeric in _numeric(table)),
        caption=_latex_text(table.caption),
        label=f"tab:{table.name}",
        position_float="centering",
    )
    lines = text.splitlines()
    body = next(i for i, line in enumerate(lines) if line.startswith("\\midrule")) + 1  # one line a row
    for row in sorted({*table.rules, *([len(table.rows)] if table.footer else [])}, reverse=True):
        lines.insert(body + row, "\\midrule")
    text = "\n".join(lines) + "\n"
    for sign, command in LATEX_SIGNS.items():
        text = text.replace(sign, command)
    return text


def _latex_text(text: str) -> str:
    escaped = text.replace("\\", r"\textbackslash ")
    for character in "&%$#_{}":
        escaped = escaped.replace(character, "\\" + character)
    return escaped.replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")


def _breakable(name: str) -> str:
    """Long names may break after an underscore; the arrow stays with the last part."""
    return html.escape(name).replace("_", "_<wbr>").replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓")


def as_html(table: Table, *, caption: bool = True, source_numbers: Mapping[EvaluationRecord, int] | None = None) -> str:
    """A plain semantic table; numbers carry their unrounded value for sorting. Without a caption it has a label for screen readers.

    source_numbers: what a field with sources carries for each of them (`data-from`), where there is a list they are numbers of.
    """
    kinds = ["" if numeric else ' class="text"' for numeric in _numeric(table)]
    head = "".join(f'<th scope="col"{kind}>{_breakable(column)}</th>' for kind, column in zip(kinds, table.columns, strict=True))
    body, numeric = [], _numeric(table)
    for i, (texts, values) in enumerate(zip(table.rows, table.values, strict=True)):
        fields = [f'<th scope="row">{_breakable(texts[0])}</th>']
        for j, (text, value) in enumerate(zip(texts[1:], values[1:], strict=True), start=1):
            data = (
                ("" if numeric[j] else f' class="text {text if text in VERDICTS else "name"}"')
                if value is None
                else f' data-value="{value!r}"'
            )
            if source_numbers is not None and (i, j) in table.sources:
                data += f' data-from="{" ".join(str(source_numbers[record]) for record in table.sources[i, j])}"'
            shown = html.escape(text) if numeric[j] else _breakable(text)
            fields.append(f"<td{data}>{f'<strong>{shown}</strong>' if (i, j) in table.best else shown}</td>")
        start = '<tr class="block">' if i in table.rules else "<tr>"
        body.append(f"{start}{''.join(fields)}</tr>")
    feet = [
        f'<tr><th scope="row">{html.escape(row[0])}</th>{"".join(f"<td>{html.escape(text)}</td>" for text in row[1:])}</tr>'
        for row in table.footer
    ]
    foot = f"<tfoot>{''.join(feet)}</tfoot>" if feet else ""
    name = f"<caption>{html.escape(table.caption)}</caption>" if caption else ""
    label = "" if caption else f' aria-label="{html.escape(table.caption)}"'
    return f'<table class="{table.name}"{label}>{name}<thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody>{foot}</table>\n'
