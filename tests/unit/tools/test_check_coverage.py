"""The floors of coverage: counted by room, and missed ones fail."""

from __future__ import annotations

import json

import pytest
from tools.check_coverage import FLOORS, main, shares


def file(covered, lines):
    return {"summary": {"covered_lines": covered, "num_statements": lines}}


def report(**changed):
    """A report in which every room is covered but for what is changed."""
    names = ["errors.py", "cli/main.py", *(f"{room}/module.py" for room in FLOORS)]
    files = {name: file(100, 100) for name in names} | {
        name.replace("__", "/") + ".py": counted for name, counted in changed.items()
    }
    return {"files": {f"src/haulout/{name}": counted for name, counted in files.items()}}


def test_a_file_counts_for_its_room_its_package_with_a_floor_and_everything():
    found = shares(
        {"files": {"src/haulout/workload/luks/xts.py": file(3, 4), "src/haulout/workload/krun.py": file(1, 6)}}
    )
    assert found == {"": (4, 10), "workload": (4, 10), "workload/luks": (3, 4)}


@pytest.mark.parametrize("place", ["src/haulout/", "/home/me/haulout/src/haulout/", "/opt/haulout-1/lib/haulout/"])
def test_where_the_sources_are_does_not_matter(place):
    assert shares({"files": {f"{place}oci/digest.py": file(1, 2)}}) == {"": (1, 2), "oci": (1, 2)}


@pytest.mark.parametrize(
    ("changed", "low"),
    [
        ({}, None),
        ({"cli__main": file(0, 100)}, "all"),
        ({"cli__main": file(50, 100)}, None),
        ({"oci__module": file(95, 100)}, None),
        ({"oci__module": file(949, 1000)}, "oci"),
        ({"workload__luks__module": file(94, 100)}, "workload/luks"),
        ({"workload__other": file(50, 100)}, None),
    ],
)
def test_what_is_below_its_floor_fails_and_is_named(tmp_path, capsys, changed, low):
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(**changed)))
    assert main(path) == (low is not None)
    lines = [line for line in capsys.readouterr().out.splitlines() if "below" in line]
    assert [line.split()[0] for line in lines] == ([low] if low else [])


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_with_a_floor_that_was_not_measured_fails(tmp_path, capsys, room):
    whole = report()
    del whole["files"][f"src/haulout/{room}/module.py"]
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(whole))
    assert main(path) == 1
    assert f"{room}: not measured" in capsys.readouterr().out
