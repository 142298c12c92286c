"""The cache as a whole, and what interrupted pulls left."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

import haulout
from haulout.fetch.leftovers import leftovers
from haulout.fetch.seeds import SeedNotes
from haulout.fetch.target import open_partial
from haulout.oci import Digest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "haulout"


class Interrupted(Exception):  # noqa: N818 - no error of ours
    pass


def interrupted(target):
    with suppress(Interrupted), open_partial(target, Digest.of(b"x")) as partial:
        os.write(partial.fd, b"x" * 10_000)
        os.fsync(partial.fd)
        raise Interrupted
    return partial.path


def test_an_empty_cache(cache):
    found = haulout.cache_info()
    assert found.folder == cache
    assert {(each.files, each.size) for each in found.folders} == {(0, 0)}
    assert found.leftovers == ()
    assert haulout.cache_prune(everything=True, partials=True).removed == ()
    assert not cache.exists()


def test_what_an_interrupted_pull_left_is_found_and_removed_when_asked(tmp_path):
    left = interrupted(tmp_path / "a.raw")
    assert [each.path for each in haulout.cache_info().leftovers] == [left]
    assert haulout.cache_info().leftovers[0].size >= 10_000
    assert haulout.cache_prune().removed == ()
    assert [each.path for each in haulout.cache_prune(partials=True, dry_run=True).removed] == [left]
    assert left.exists()
    done = haulout.cache_prune(partials=True)
    assert [each.path for each in done.removed][:1] == [left]
    assert not left.exists()
    assert leftovers() == []
    assert {each.files for each in haulout.cache_info().folders} == {0}


def test_a_partial_that_machines_run_from_is_no_leftover(tmp_path):
    left = interrupted(tmp_path / "sha256-0a0a")
    (tmp_path / "sha256-0a0a.lazy").write_text("{}")
    assert haulout.cache_info().leftovers == ()
    assert left not in [each.path for each in haulout.cache_prune(partials=True).removed]
    assert left.exists()


def test_what_killed_writers_left_in_the_cache_goes(cache):
    left = cache / "seeds" / f".{'a' * 64}.toc.0a0a0a0a.new"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 5000)
    assert [(each.path, each.size) for each in haulout.cache_prune(dry_run=True).removed] == [(left, 8192)]
    assert left.exists()
    assert haulout.cache_prune().freed == 8192
    assert not left.exists()


def test_a_pull_under_way_keeps_its_partial(tmp_path):
    with open_partial(tmp_path / "a.raw", Digest.of(b"x")) as partial:
        os.write(partial.fd, b"x" * 10_000)
        assert haulout.cache_prune(partials=True, everything=True).removed[0].path != partial.path
        assert partial.path.exists()
        partial.publish()
    assert haulout.cache_info().leftovers == ()


def test_a_note_that_leads_to_another_file_removes_nothing(tmp_path):
    left = interrupted(tmp_path / "a.raw")
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    left.unlink()
    left.symlink_to(precious)
    assert haulout.cache_info().leftovers == ()
    haulout.cache_prune(partials=True)
    assert precious.read_bytes() == b"precious"
    assert left.is_symlink()


def test_notes_of_files_that_are_gone_go_and_all_go_when_asked(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x" * 4096)
        SeedNotes().remember(tmp_path / name, "place", None)
    (tmp_path / "a").unlink()
    assert len(haulout.cache_prune(dry_run=True).removed) == 1
    done = haulout.cache_prune()
    assert len(done.removed) == 1
    assert done.freed > 0
    assert [path.name for path, _ in SeedNotes().recall("place")] == ["b"]
    assert len(haulout.cache_prune(everything=True).removed) == 1
    assert list(SeedNotes().recall("place")) == []
    assert (tmp_path / "b").exists()
