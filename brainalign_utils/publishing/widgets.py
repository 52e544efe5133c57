"""What readers can move on a page: precomputed numbers as JSON, and where ``book/static`` finds them.

Everything a widget says stands in a figure or table of the same page too, for readers without scripts.
"""

import html
import json
from collections.abc import Callable

import pandas as pd

from ..settings import Settings
from ..titles import TITLES


def cortex(settings: Settings) -> str:
    """The three-dimensional viewer; its data are fetched when a reader asks for it."""
    manifest = (settings.paths.root / "viewer" / "manifest.json").read_text()
    said = "The viewer needs JavaScript. The figure and the table below show part of the same without it."
    inside = f'<script type="application/json">{_inert(json.loads(manifest))}</script>'
    inside += f"<noscript><p>{said}</p></noscript>"
    return _raw(f'<div class="cortex-viewer" data-files="../viewer/">{inside}</div>', "cortex.js")


def layers(settings: Settings) -> str:
    """A slider over the layers of figure 5."""
    table = pd.read_csv(settings.paths.figure("figure_5", "csv"))
    columns = ["model", "component", "layer", "roi", "subject", "value"]
    return _readings("layers", table[columns].round(4), table.value, "ceiling-normalised alignment", digits=2)


def pairs(settings: Settings) -> str:
    """A choice of two instructions for figure 6, mean over models and subjects."""
    table = pd.read_csv(settings.paths.figure("figure_6", "csv"))
    keys, parts = ["roi", "instruction_a", "instruction_b"], ["unique_a", "unique_b", "shared"]
    mean = table.groupby(keys, sort=False)[parts].mean().reset_index()
    mean = mean.rename(columns={"instruction_a": "a", "instruction_b": "b"}).round(5)
    present = [*dict.fromkeys([*mean.a, *mean.b])]
    first, second = (i if i in present else present[k] for i, k in (("IC", -1), ("IU2", 0)))
    unit = "share of explainable variance, mean over models and subjects"
    return _readings("pairs", mean, mean[parts].stack(), unit, digits=3, first=first, second=second)


def _readings(kind, rows, numbers, unit, **facts):
    data = {"unit": unit, "range": [float(numbers.min()), float(numbers.max())], **facts}
    records = json.loads(rows.assign(**_text(rows)).to_json(orient="records"))
    names = {value for record in records for value in record.values() if isinstance(value, str)}
    data |= {"titles": {name: TITLES[name] for name in sorted(names & TITLES.keys())}, "rows": records}
    return _raw(
        f'<div class="slider-table" data-kind="{kind}">'
        f'<script type="application/json">{_inert(data)}</script></div>',
        "sliders.js",
    )


def _text(rows):
    return {"subject": rows.subject.astype(str)} if "subject" in rows else {}


def _inert(data) -> str:
    """JSON that cannot end its script element."""
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")


def _raw(markup, script):
    source = html.escape(f"../_static/{script}")
    return f'```{{raw}} html\n{markup}\n<script src="{source}" defer></script>\n```'


WIDGETS: dict[str, Callable[[Settings], str]] = {"cortex": cortex, "layers": layers, "pairs": pairs}
"""By the name in a cell's tag ``widget:<name>``; the widget stands behind that cell."""


def widgets_of(tags, settings: Settings) -> list[str]:
    """Markdown of the widgets that a cell's tags name."""
    names = [tag.removeprefix("widget:") for tag in tags if tag.startswith("widget:")]
    return [WIDGETS[name](settings) for name in names]
