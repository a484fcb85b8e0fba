"""What an audit found, as files that a person reads: a table, a page, a sheet of pictures."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ccc }}
th:first-child {{ text-align: left }}
img {{ image-rendering: pixelated; max-width: 100% }}
</style></head><body>
<h1>{title}</h1>
{paragraphs}
{table}
{picture}
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
    picture = ""
    if sheet is not None:
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
        code = base64.b64encode(buffer.getvalue()).decode()
        picture = f'<img alt="Before and after" src="data:image/png;base64,{code}">'
    return _PAGE.format(
        title=html.escape(title),
        paragraphs="\n".join(f"<p>{html.escape(note)}</p>" for note in notes),
        table="\n".join(
            table.to_html(float_format=_figure, border=0, na_rep="–")
            for table in tables
            if len(table)
        ),
        picture=picture,
    )


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}"
