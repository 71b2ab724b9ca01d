"""Style sheet and script of the report page. No fonts, scripts or images from elsewhere; works without the script.

Reads/Writes  nothing.
"""

from __future__ import annotations

from analysis.figures.style import GRID, INK, MUTED, PAPER, SERIES

# Each colour of the figures -> the variable that replaces it on the page.
FIGURE_COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--card", **{colour: f"--s{i}" for i, colour in enumerate(SERIES)}}
DARK_SERIES = ("#56b1e8", "#ff9350", "#35c79f", "#e6a0c8", "#a6dcfa", "#f2bd4b", "#cdb652")


def _variables(names: dict[str, str]) -> str:
    return "".join(f"{name}:{value};" for name, value in names.items())


_LIGHT = _variables({variable: colour for colour, variable in FIGURE_COLOURS.items()}) + "--page:#f6f7f8;--good:#005f95;--bad:#a84400;"
_DARK = (
    _variables({f"--s{i}": colour for i, colour in enumerate(DARK_SERIES)})
    + "--ink:#e7eaee;--muted:#a5aeb9;--grid:#343b44;--card:#1b2026;--page:#12151a;--good:#7cc4f0;--bad:#ffa56b;"
)

STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}}}\n@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}\n"
    """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
 "Hiragino Sans","Noto Sans CJK JP","Noto Sans JP",sans-serif;overflow-wrap:break-word}
main,header,footer{max-width:66rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2.5rem}
.kicker{margin:0;color:var(--muted);font-size:.875rem}
h1{font-size:clamp(1.5rem,1.1rem + 1.9vw,2.25rem);line-height:1.2;letter-spacing:-.015em;margin:.35rem 0 .6rem;text-wrap:balance}
h2{font-size:1.3rem;line-height:1.3;margin:3rem 0 .75rem;letter-spacing:-.01em}
h3{font-size:1.05rem;line-height:1.35;margin:0 0 .4rem}
p,ul,dl{max-width:44rem;margin:0 0 .9rem}
.card{background:var(--card);border:1px solid var(--grid);border-radius:.6rem;padding:1.1rem 1.25rem;margin:0 0 1rem}
.card>:last-child{margin-bottom:0}
.claims{list-style:none;padding:0;margin:.6rem 0 0;max-width:none}
.claims li{display:grid;grid-template-columns:1.4rem 1fr;gap:.1rem .35rem;padding:.3rem 0;border-top:1px solid var(--grid)}
.claims small{grid-column:2;color:var(--muted);font-size:.84rem}
.claims,table{font-variant-numeric:tabular-nums}
.improved .sign,td.improved,strong.improved{color:var(--good)}
.degraded .sign,td.degraded,strong.degraded{color:var(--bad)}
.inconclusive .sign,.absent .sign{color:var(--muted)}
dt{font-weight:600}
dd{margin:0 0 .5rem}
.claims+.claims{margin-top:0}
.note{color:var(--muted);font-size:.92rem}
.note.after{margin-top:.8rem}
.worries li{margin:0 0 .3rem}
details{margin:0 0 .6rem}
.health td:nth-child(2),.health th:nth-child(2){text-align:left}
.overlap td:nth-child(-n+3),.overlap th:nth-child(-n+3){text-align:left;white-space:normal}
figure{margin:0 0 1rem}
figcaption{color:var(--muted);font-size:.92rem;margin-top:.75rem;max-width:44rem}
.scroll{overflow-x:auto}
.scroll:focus-visible,button:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--good);outline-offset:2px}
.scroll svg{display:block;width:100%;min-width:36rem;height:auto}
table{border-collapse:collapse;font-size:.86rem;width:100%}
caption{text-align:left;color:var(--muted);font-size:.92rem;padding-bottom:.6rem}
th,td{padding:.36rem .5rem;text-align:right;white-space:nowrap}
th:first-child,td:first-child,.changes th:first-child{text-align:left;padding-left:0}
td.text,th.text{text-align:left}
td.id{font-family:ui-monospace,"Cascadia Mono",Menlo,Consolas,monospace;font-size:.8rem;text-align:left}
thead th,tbody th{white-space:normal}
tbody th{min-width:8.5rem}
.changes th,.changes td{font-size:.82rem;padding-left:.4rem;padding-right:.4rem}
.changes tbody th{white-space:nowrap}
thead th{border-bottom:1.5px solid var(--ink);vertical-align:bottom}
tbody th{font-weight:500}
tbody tr+tr>*{border-top:1px solid var(--grid)}
tfoot>tr:first-child>*{border-top:1.5px solid var(--ink)}
tfoot *{color:var(--muted);font-weight:400;font-size:.85rem}
th button{all:unset;cursor:pointer;font-weight:600}
th button:hover{text-decoration:underline dotted}
th[aria-sort=ascending] button::after{content:" \\25B4"}
th[aria-sort=descending] button::after{content:" \\25BE"}
a{color:var(--good)}
code{font-family:ui-monospace,"Cascadia Mono",Menlo,Consolas,monospace;font-size:.875em}
summary{cursor:pointer;padding:.3rem 0}
footer{color:var(--muted);font-size:.875rem;padding-top:2rem;padding-bottom:3rem}
@media (min-width:46rem){.comparison th:first-child,.changes th:first-child{position:sticky;left:0;background:var(--card)}}
@media (max-width:30rem){main,header,footer{padding-left:.9rem;padding-right:.9rem}.card{padding:.9rem}}
@media print{body{background:#fff}.card{border:0;padding:0}.scroll{overflow:visible}.scroll svg{min-width:0}}
"""
)

# Click a heading to sort by it; numbers by data-value, the rest as text; rows without a value stay last.
SCRIPT = """
for (const table of document.querySelectorAll("table.comparison, table.changes")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows], sign = up ? 1 : -1;
      const numeric = rows.some(row => row.cells[column].dataset.value !== undefined);
      const key = row => {
        const cell = row.cells[column], value = cell.dataset.value;
        return numeric ? (value === undefined ? null : Number(value)) : cell.textContent;
      };
      rows.sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (numeric ? x - y : x.localeCompare(y));
      });
      body.append(...rows);
    });
  });
}
"""
