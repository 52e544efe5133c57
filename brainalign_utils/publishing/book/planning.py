"""What the full study will cost, as Markdown."""

from pathlib import Path

from ...running import plan
from ...settings import load_settings
from .generated import markdown_table

FULL_GRID = Path("workflow/config/nsd.yml")


def plan_tables(root: Path) -> dict[str, str]:
    """Markdown of the plan of the paper's full grid, per rule and per model; the dataset is not read."""
    settings = load_settings(root / FULL_GRID, nsd_root=root)
    tables = {"plan_rules": plan.rule_table(settings), "plan_models": plan.model_table(settings)}
    shown = {name: plan.readable(table).reset_index() for name, table in tables.items()}
    return {
        name: f"{markdown_table(table.columns, table.itertuples(index=False))}\n"
        for name, table in shown.items()
    }
