"""Figures on disk: SVG, PNG, the tidy table behind them, and what a page must say about them."""

import base64
import html
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..artifacts import file_hash, record
from ..settings import Settings, fingerprint, project_root
from .style import MUTED, WARNING, styled

NOTICES = {
    "phantom": "PHANTOM DATA: simulated brains, tiny models. Not a finding about brains.",
    "nsd": "Natural Scenes Dataset",
}
DPI = 160
_CARD = "background:#fff;color:#1f2328;border-radius:.4rem;padding:.5rem;margin:0;overflow-x:auto"
_IMAGE = "display:block;width:100%;min-width:min(30rem,100%);height:auto"


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk; shows itself in a notebook, with its alternative text.

    Parameters
    ----------
    name : str
    svg, png, csv, json : Path
        Picture, picture, tidy table, and description.
    alt : str
        For readers who do not see the picture.
    """

    name: str
    svg: Path
    png: Path
    csv: Path
    json: Path
    alt: str

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.png.read_bytes()).decode()
        source = f'src="data:image/png;base64,{picture}" alt="{html.escape(self.alt)}"'
        image = f'<img class="study-figure dark-light" {source} style="{_IMAGE}">'
        return f'<figure style="{_CARD}">{image}</figure>'

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        png = base64.b64encode(self.png.read_bytes()).decode()
        return {"text/plain": self.alt, "image/png": png, "text/html": self._repr_html_()}


def save_figure(figure, table, name, settings: Settings, caption, alt) -> SavedFigure:
    """Write a figure as SVG and PNG with its table as CSV and its description as JSON.

    Every file is written under a temporary name and then renamed.  The kind of data is written on the figure.

    Parameters
    ----------
    figure : matplotlib Figure
    table : DataFrame
        Every number the figure shows, tidy; one row per mark.
    name : str
        Stem of the files in the study's ``figures`` folder.
    settings : Settings
    caption, alt : str
        What the figure shows, and the same for readers who do not see it
        (:mod:`brainalign_utils.figures.alt` writes it from tables).
        On the phantom the alternative text ends by saying so.

    Returns
    -------
    saved : SavedFigure
        Last expression of a notebook cell, it shows the figure.

    Raises
    ------
    ValueError
        When caption or alternative text is empty, or the table has no rows.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from brainalign_utils import figures
    >>> folder = tempfile.mkdtemp()
    >>> table = pd.DataFrame({"roi": "faces", "instruction": ["IC", "IU1"], "share": [0.75, 0.25]})
    >>> settings = Settings(build_root=folder, models=("instructblip",))
    >>> words = {"caption": "Winners.", "alt": "Bars."}
    >>> saved = save_figure(figures.plot_winner_shares(table), table, "winners", settings, **words)
    >>> saved.png.name, saved.alt
    ('winners.png', 'Bars. Phantom data, not a finding about brains.')
    """
    for what, value in (("caption", caption), ("alt", alt)):
        if not value.strip():
            raise ValueError(f"{what} of figure {name!r} is {value!r}; every figure needs one")
    if not len(table):
        raise ValueError(f"table of figure {name!r} has 0 rows; a figure needs the numbers it shows")
    if settings.data == "phantom" and "phantom" not in alt.lower():
        alt = f"{alt.rstrip()} Phantom data, not a finding about brains."
    paths = {kind: settings.paths.figure(name, kind) for kind in ("svg", "png", "csv", "json")}
    paths["svg"].parent.mkdir(parents=True, exist_ok=True)
    _write_pictures(figure, paths, {"Title": name, "Description": alt}, NOTICES[settings.data])
    _atomic(paths["csv"], lambda file: table.to_csv(file, index=False, float_format="%.6g"))
    about = {"name": name, "caption": caption, "alt": alt, "data": settings.data}
    about |= {"notice": NOTICES[settings.data], "settings": fingerprint(settings.model_dump(mode="json"))}
    about |= {"sha256": {kind: file_hash(paths[kind], 64) for kind in ("svg", "png", "csv")}}
    text = json.dumps(about | {"provenance": record(project_root())}, indent=1)
    _atomic(paths["json"], lambda file: file.write_text(text, encoding="utf-8"))
    return SavedFigure(name, **paths, alt=alt)


@styled
def _write_pictures(figure, paths, metadata, notice):
    """The figure with the kind of data as its first line."""
    colour = WARNING if "PHANTOM" in notice else MUTED
    figure.suptitle(notice, x=0.01, ha="left", fontsize=8.5, weight="bold", color=colour)
    for kind, more in (("svg", {"Date": None}), ("png", {"Comment": notice})):
        options = {"format": kind, "metadata": metadata | more, "dpi": DPI, "facecolor": "white"}
        _atomic(paths[kind], lambda file, options=options: figure.savefig(file, **options))


def _atomic(path: Path, write) -> None:
    """Write a file through a temporary name in the same folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
