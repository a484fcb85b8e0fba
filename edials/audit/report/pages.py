"""What an audit found, as files that a person reads: a table, a page, a sheet of pictures."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

_SHORT = 25  # rows
# Dark on white, one column, no scripts and no address: it is mailed, archived and printed.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.7rem; margin-bottom: .3rem }}
h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #1a1a1a }}
h3 {{ font-size: 1.05rem; margin: 1.2rem 0 .2rem }}
p, ul, dl {{ margin: .5rem 0 }}
.verdict {{ border: 2px solid #0072b2; border-left-width: 12px; padding: .6rem 1.2rem;
  margin: 1rem 0; background: #f2f8fc }}
.verdict.alarm {{ border-color: #d55e00; background: #fdf4ee }}
.verdict h2 {{ border: 0; margin: 0 0 .3rem; font-size: 1.3rem }}
.figures {{ display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; margin: .8rem 0 }}
.figures dt {{ font-size: .85rem; color: #444 }}
.figures dd {{ margin: 0; font-size: 1.35rem; font-weight: 600 }}
.figures small {{ font-size: .85rem; font-weight: 400; display: block }}
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }}
th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #bbb;
  vertical-align: top; white-space: pre-line }}
thead th {{ border-bottom: 2px solid #1a1a1a; vertical-align: bottom }}
th:first-child, td:first-child, .words td, .words th {{ text-align: left }}
tr.broken td {{ color: #555; background: #eee }}
tr.broken td:nth-child(2) {{ font-weight: 700; color: #a33b00 }}
tr.worst td {{ font-weight: 600 }}
.loud {{ font-weight: 700; color: #a33b00 }}
.small, caption {{ font-size: .9rem; color: #333 }}
caption {{ text-align: left; padding-bottom: .3rem }}
svg, img {{ display: block; max-width: 100%; height: auto; margin: .8rem 0 }}
svg {{ width: 100% }}
img {{ image-rendering: pixelated }}
@page {{ size: A4; margin: 14mm }}
@media print {{
  body {{ font-size: 10.5pt; max-width: none; margin: 0; padding: 0 }}
  table {{ font-size: 8pt }}
  th, td {{ padding: .15rem .3rem }}
  .wide {{ overflow: visible }}
  h2, h3 {{ break-after: avoid }}
  .figures {{ flex-wrap: nowrap; gap: 1rem }}
  .figures dd {{ font-size: 12pt }}
  .figures dt, .figures small {{ font-size: 8pt }}
  svg, img, tr, li, .verdict, .short, section {{ break-inside: avoid }}
  thead {{ display: table-header-group }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact }}
}}
</style></head><body>
{body}
</body></html>
"""


def picture_sheet(rows: list[NDArray[np.uint8]], *, enlarge: int = 2, gap: int = 4) -> Image.Image:
    """Put pictures in rows on white, one row of the list below the other.

    Parameters
    ----------
    rows : list of ndarray of shape (n, height, width, 3), dtype uint8
    enlarge : int, default=2
        Every pixel becomes a square of so many.
    gap : int, default=4
        Pixels between pictures.
    """
    padded = [
        np.pad(row, ((0, 0), (gap, 0), (gap, 0), (0, 0)), constant_values=255) for row in rows
    ]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in padded], axis=0)
    picture = Image.fromarray(np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=255))
    return picture.resize(
        (picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST
    )


def write_report(
    folder: Path, *, title: str, table: pd.DataFrame, notes: list[str], sheet: Image.Image
) -> list[Path]:
    """Write ``report.csv``, ``report.html`` (one file, pictures inside) and ``pictures.png``.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    title : str
    table : DataFrame
        One row per kind of images; the index names them.
    notes : list of str
        Paragraphs below the title: what the figures mean and what they do not show.
    sheet : PIL.Image.Image

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("report.csv", "report.html", "pictures.png")]
    table.to_csv(paths[0], float_format="%.4f")
    paths[1].write_text(page(title, notes, [table], sheet), encoding="utf-8")
    sheet.save(paths[2], format="PNG")
    return paths


def page(
    title: str, notes: list[str], tables: list[pd.DataFrame], sheet: Image.Image | None
) -> str:
    """One HTML page with everything inside: paragraphs, tables, a picture (or None)."""
    parts = [f"<h1>{html.escape(title)}</h1>", *(paragraph(note) for note in notes)]
    for table in tables:
        named = zip(table.index, table.to_numpy(), strict=True)
        rows = [[str(name), *map(_figure, row)] for name, row in named]
        if rows:
            parts.append(html_table(["", *map(str, table.columns)], rows))
    if sheet is not None:
        parts.append(html_picture(sheet, "Before and after"))
    return document(title, parts)


def document(title: str, parts: list[str]) -> str:
    """A whole page around pieces of HTML that are escaped already.

    Parameters
    ----------
    title : str
    parts : list of str
    """
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def paragraph(text: str, kind: str = "") -> str:
    """Text, escaped, as a paragraph of a CSS class."""
    style = f' class="{kind}"' if kind else ""
    return f"<p{style}>{html.escape(text)}</p>"


def html_table(
    header: list[str], rows: list[list[str]], *, kinds: list[str] | None = None, caption: str = ""
) -> str:
    """A table of text, every cell escaped.

    Parameters
    ----------
    header : list of str
    rows : list of lists of str
    kinds : list of str, optional
        CSS class of every row.
    caption : str, default=""
    """
    lines = []
    for row, kind in zip(rows, kinds or [""] * len(rows), strict=True):
        style = f' class="{kind}"' if kind else ""
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f"<tr{style}>{cells}</tr>")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    # A table that fits on a page is printed on one.
    short = " short" if len(rows) <= _SHORT else ""
    return (
        f'<div class="wide{short}"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def html_picture(sheet: Image.Image, said: str) -> str:
    """A picture inside the page, with words for those who do not see it."""
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(said)}" src="data:image/png;base64,{code}">'


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """A figure, and its interval on a line of its own if there is one."""
    said = number(value, digits)
    if not np.isfinite([low, high]).all():
        return said
    # A line of its own that does not break.
    return f"{said}\n[{number(low, digits)},\u00a0{number(high, digits)}]"


def number(value: Any, digits: int, sign: str = "") -> str:
    """A figure for the eye, a dash if it is missing."""
    if value is None or not np.isfinite(value):
        return "–"
    # Adding 0 to what is rounded turns -0.0 into 0.0.
    return f"{round(float(value), digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def _figure(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}"
