"""What a study will cost before anything runs: unit costs times counts."""

from .records import LIMIT, against, agrees, compare, is_bound, recorded_costs, study_records
from .tables import (
    growth,
    load_costs,
    model_table,
    notes,
    planned_runs,
    read_units,
    readable,
    render,
    requests,
    rule_table,
)

__all__ = [
    "LIMIT",
    "against",
    "agrees",
    "compare",
    "growth",
    "is_bound",
    "load_costs",
    "model_table",
    "notes",
    "planned_runs",
    "read_units",
    "readable",
    "recorded_costs",
    "render",
    "requests",
    "rule_table",
    "study_records",
]
