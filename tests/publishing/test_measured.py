"""The table of measured limits."""

import json
from pathlib import Path

from brainalign_utils.publishing.measured import LIMITS, Limit, limits_table


def test_rows_say_what_holds(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"x": {"y": 2.5}, "machine": "m", "date": "2026-01-02"}))
    limits = (
        Limit("most", "a", "x/y", "{:.1f} GB", 2),
        Limit("least", "a", "x/y", "{:.1f}", 2, True),
        Limit("zero", "a", "x/z", "{:.0f}", 0),
        Limit("none", "b", "x", "{:.0f}", 0),
    )
    rows = limits_table(tmp_path, limits).splitlines()[2:]
    assert rows[0] == "| most | at most 2.0 GB | 2.5 GB | **no** | m, 2026-01-02 |"
    assert rows[1] == "| least | at least 2.0 | 2.5 | yes | m, 2026-01-02 |"
    assert "| not measured yet |" in rows[2] and "| not measured yet |" in rows[3]


def test_limits_of_the_book_hold():
    rows = limits_table(Path(__file__).parents[2] / "benchmarks/results").splitlines()[2:]
    assert len(rows) == len(LIMITS)
    assert not [row for row in rows if "**no**" in row]
