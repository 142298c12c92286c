"""``--quiet``: the result alone, as scripts read it: each name on a line of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.stores import put_manifest

from haulout.cli.main import main
from haulout.cli.session import Session
from haulout.content import LayoutStore
from haulout.oci import empty_config_manifest


def said(capsys, *arguments):
    assert main([*arguments, "--quiet"]) == 0
    return capsys.readouterr().out


@pytest.fixture
def place(tmp_path):
    with LayoutStore(os.fspath(tmp_path / "m"), create=True) as store:
        for number in ("1", "2", "3"):
            put_manifest(store, empty_config_manifest((), artifact_type=f"a/{number}"), number)
    return f"oci:{tmp_path}/m"


def test_names_stand_on_lines_of_their_own(place, capsys):
    assert said(capsys, "tags", place) == "3\n2\n1\n"
    assert said(capsys, "prune", place, "--keep", "1", "--dry-run") == "1\n2\n"
    assert said(capsys, "prune", place, "--keep", "2") == "1\n"
    assert said(capsys, "delete", f"{place}:2") == "2\n"
    assert said(capsys, "prune", place, "--keep", "1") == ""


@pytest.mark.parametrize(
    ("brief", "printed"),
    [
        ("one", "one\n"),
        ("", ""),
        ([], ""),
        (["a", "b"], "a\nb\n"),
        ([os.fspath(Path("a\nb")), "c"], "a\\nb\nc\n"),
        (None, "long\n"),
    ],
)
def test_a_line_break_in_a_name_makes_no_second_one(capsys, brief, printed):
    Session(quiet=True).result("v", {}, ["long"], brief=brief)
    assert capsys.readouterr().out == printed
