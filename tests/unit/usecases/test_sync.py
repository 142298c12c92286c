"""Synchronising layouts: only what changed, only what is asked for."""

from __future__ import annotations

import pytest
from tests.support.disks import raw_disk
from tests.support.recording_progress import RecordingProgress

from haulout import SyncRule, attach, discover, inventory, push, read_sync_file, sync, tags
from haulout.content import LayoutStore
from haulout.errors import InvalidFile, NotFoundError, UsageError

TAGS = ("4.9", "5.0", "5.1-rc1", "5.1")


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    disk = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=2)
    for number, tag in enumerate(TAGS):
        with disk.open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"%d" % number * 4096)
        push(f"oci:a:{tag}", disk, architecture="x86_64", level=1)
    return tmp_path


def statuses(done):
    return {each.source.rpartition(":")[2]: each.status for each in done.tags}


def held(place):
    return sorted(each.tag for each in tags(place).tags)


def test_only_tags_that_match_go_and_the_second_time_only_what_changed(layout):
    rule = SyncRule("oci:a", "oci:b", include=("5.*",), exclude=("*-rc*",))
    planned = sync(rule, dry_run=True)
    assert statuses(planned) == {"5.0": "copied", "5.1": "copied"}
    assert not (layout / "b").exists()
    done = sync(rule)
    assert statuses(done) == {"5.0": "copied", "5.1": "copied"}
    assert [each.missing for each in planned.tags] == [each.missing for each in done.tags], "each blob counts once"
    assert held("oci:b") == ["5.0", "5.1"]
    assert inventory("oci:b:5.0").pinned.digest == inventory("oci:a:5.0").pinned.digest
    assert statuses(sync(rule)) == {"5.0": "unchanged", "5.1": "unchanged"}
    (layout / "s.json").write_text("{}")
    attach("oci:a:5.0", "s.json", artifact_type="application/spdx+json")
    assert statuses(sync(rule)) == {"5.0": "copied", "5.1": "unchanged"}
    assert any(each.artifact_type == "application/spdx+json" for each in discover("oci:b:5.0").attached)
    assert statuses(sync(rule)) == {"5.0": "unchanged", "5.1": "unchanged"}


def test_where_nothing_is_to_be_copied_nothing_is_made(layout):
    for place in ("oci:b", "oci-archive:b.tar"):
        assert sync(SyncRule("oci:a", place, include=("9.*",))).tags == ()
    assert {each.name for each in layout.iterdir()} == {"a", "d.raw"}


def test_helper_tags_are_not_copied_but_what_they_say_is(layout):
    root = inventory("oci:a:5.0").root.descriptor
    with LayoutStore("a", create=True) as store:
        data = store.manifest("5.1")
        store.push_manifest(data.data, data.descriptor.media_type, f"sha256-{root.digest.hex}")
    sync(SyncRule("oci:a", "oci:b"))
    assert held("oci:b") == sorted(TAGS)
    with LayoutStore("b") as store:
        assert f"sha256-{root.digest.hex}" not in set(store.tags())


def test_all_versions_go_into_one_archive_and_come_out_again(layout):
    assert set(statuses(sync(SyncRule("oci:a", "oci-archive:all.tar"))).values()) == {"copied"}
    assert set(statuses(sync(SyncRule("oci-archive:all.tar", "oci:c"))).values()) == {"copied"}
    assert held("oci:c") == sorted(TAGS)


def test_an_error_ends_it_or_is_in_the_result(layout):
    victim = inventory("oci:a:5.0").disks[0].layers[0].digest
    (layout / "a/blobs/sha256" / victim.hex).unlink()
    rules = [SyncRule("oci:none", "oci:b"), SyncRule("oci:a", "oci:b")]
    with pytest.raises(NotFoundError):
        sync(rules[1])
    done = sync(rules, keep_going=True)
    assert [each.status for each in done.tags].count("failed") == 2
    assert statuses(done)["5.0"] == "failed"
    assert statuses(done)["5.1"] == "copied"
    assert [type(error) for error in done.failures] == [NotFoundError, NotFoundError]
    assert held("oci:b") == ["4.9", "5.1", "5.1-rc1"]


def test_a_file_has_rules(layout):
    (layout / "s.toml").write_text(
        '[[sync]]\nsource = "oci:a"\ndestination = "oci:b"\ninclude = ["5.*"]\n'
        '[[sync]]\nsource = "oci:a"\ndestination = "oci:c"\nexclude = "5*"\n'
    )
    assert len(sync(read_sync_file("s.toml")).tags) == 4
    assert held("oci:c") == ["4.9"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"sync: is missing"),
        ("[[sync]]\nsource = 'oci:a'", r"sync\[0\]\.destination: is missing"),
        ("[[sync]]\nsource = 'oci:a:1'\ndestination = 'oci:b'", r"sync\[0\]\.source: .* not a repository"),
        ("[[sync]]\nsource = 'oci:a'\ndestination = 'oci:b'\nincldue = ['x']", r"incldue: is not a known key"),
        ("[sync", "is not TOML"),
    ],
)
def test_a_wrong_file_names_the_key(tmp_path, text, reason):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InvalidFile, match=reason):
        read_sync_file(tmp_path / "s.toml")


def test_references_with_tags_are_refused(layout):
    with pytest.raises(UsageError, match="not a repository"):
        sync(SyncRule("oci:a:1", "oci:b"))
    with pytest.raises(UsageError, match="nothing to synchronise"):
        sync([])


def test_a_source_that_is_not_there_leaves_no_destination_and_patterns_that_match_nothing_are_told(layout):
    told = RecordingProgress()
    with pytest.raises(NotFoundError):
        sync(SyncRule("oci:none", "oci:b"))
    assert not (layout / "b").exists()
    assert sync(SyncRule("oci:a", "oci:b", include=("6.*",)), progress=told).tags == ()
    assert told.notes == ["no tag of oci:a is to be copied: none matches, or there is none"]
