"""Fail where the tests run too little of a room: ``python -m tools.check_coverage FILE``; prints the share of each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FLOOR = 90.0
"""Percent of all lines."""
FLOORS = {"oci": 95.0, "content": 95.0, "tee": 95.0, "workload/luks": 95.0}
"""Rooms where a line that no test runs costs most: values, verifying readers, verdicts, encryption."""


def shares(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return covered and all lines of each room, of the rooms with a floor of their own, and of everything ("")."""
    found: dict[str, tuple[int, int]] = {}
    for name, file in report["files"].items():
        path = Path(name.rpartition("haulout/")[2])
        keys = {"", path.parts[0].removesuffix(".py"), *(room for room in FLOORS if path.is_relative_to(room))}
        for key in keys:
            covered, lines = found.get(key, (0, 0))
            summary = file["summary"]
            found[key] = covered + summary["covered_lines"], lines + summary["num_statements"]
    return found


def main(path: Path) -> int:
    found = shares(json.loads(path.read_text(encoding="utf-8")))
    missing = FLOORS.keys() - found.keys()
    for room in sorted(missing):
        print(f"{room}: not measured")
    low = len(missing)
    for room, (covered, lines) in sorted(found.items()):
        share = 100 * covered / lines if lines else 100.0
        floor = FLOORS.get(room, FLOOR if room == "" else 0.0)
        low += share < floor
        print(f"{room or 'all':<20}{share:6.1f} %{f'  below {floor:.0f} %' if share < floor else ''}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
