"""What a study will cost before anything runs: unit costs times counts."""

from .records import compare, study_records
from .tables import growth, load_costs, planned_runs, render, requests, rule_table

__all__ = [
    "compare",
    "growth",
    "load_costs",
    "planned_runs",
    "render",
    "requests",
    "rule_table",
    "study_records",
]
