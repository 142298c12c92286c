"""What tests against real servers share."""

from __future__ import annotations

import pytest


@pytest.fixture
def own_places(tmp_path, monkeypatch):
    """Give the test a cache and a folder for temporary files of its own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
