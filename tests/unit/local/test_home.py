"""The home directory, also of users who have none."""

from __future__ import annotations

from pathlib import Path

from haulout.local.home import home_of


def test_the_environment_goes_first_then_the_account(monkeypatch):
    assert home_of({"HOME": "/home/anna"}) == Path("/home/anna")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/bert"))
    assert home_of({}) == home_of({"HOME": ""}) == Path("/home/bert")


def test_without_a_home_nothing_is_found_in_it(monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    assert not (home_of({}) / ".config/containers").exists()
