"""What the full study will cost, and how well a plan foretold the study of this book, as Markdown."""

from pathlib import Path

import pandas as pd

from ... import plan
from ...settings import Settings, load_settings
from .generated import markdown_table

FULL_GRID = Path("workflow/config/nsd.yml")


def full_grid(root: Path) -> Settings:
    """The settings of the paper's full grid; the dataset is not read."""
    return load_settings(root / FULL_GRID, nsd_root=root)


def plan_tables(root: Path) -> dict[str, str]:
    """Markdown of the plan of the full grid: per rule, per model, its growth, and what it rests on."""
    settings = full_grid(root)
    return {
        "plan_rules": _table(plan.rule_table(settings)),
        "plan_models": _table(plan.model_table(settings)),
        "plan_growth": _table(plan.growth(settings).set_index("axis")),
        "plan_notes": f"```text\n{plan.notes(settings)}\n```\n",
    }


def check_table(settings: Settings) -> str:
    """Markdown of plan against records, for the study of this book."""
    if settings.scores_only or settings.data == "nsd":
        return "This copy of the book shows no phantom study that ran here, so there is nothing to compare.\n"
    table = plan.compare(settings)
    titles = {"cpu_seconds": "processor s", "memory": "peak memory, MB", "disk": "disk, MB"}
    shown = pd.DataFrame({
        "rule": table.rule,
        "quantity": table.quantity.map(titles),
        "planned": _readable(table.planned, table.quantity),
        "recorded": _readable(table.recorded, table.quantity),
        "planned / recorded": table.ratio.map("{:.2f}".format),
        "within": plan.agrees(table, settings).map({True: "yes", False: "**no**"}),
    })  # fmt: skip
    return f"{markdown_table(shown.columns, shown.itertuples(index=False))}\n"


def _readable(values, quantity):
    return (values / quantity.map({"cpu_seconds": 1, "memory": 1e6, "disk": 1e6})).map("{:.0f}".format)


def _table(table):
    shown = plan.readable(table).reset_index()
    return f"{markdown_table(shown.columns, shown.itertuples(index=False))}\n"
