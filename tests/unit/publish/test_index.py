"""Merging entries into an index: everything else stays, each key is there once, and who merges first does not matter."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.simulators.registry import Response, SimulatedRegistry

from haulout.content.memory import MemoryStore
from haulout.errors import RegistryError, UsageError
from haulout.oci import (
    EMPTY,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    RegistryReference,
    empty_config_manifest,
    is_helper_tag,
    mediatype,
    parse_reference,
)
from haulout.oci import annotations as keys
from haulout.progress import NullProgress
from haulout.publish.index import entry_key, merge, publish, read_index, tables_entry
from haulout.registry import Registries
from haulout.resolve import Role, classify

QUIET = NullProgress()


def index_of(store, tag: str = "5.0") -> Index | None:
    read = read_index(store, tag)
    return None if read is None else read.index


def disk(seed: str, architecture: str = "x86_64", disk_type: str = "qemu", os: str = "linux") -> Descriptor:
    digest = Digest.of(seed.encode())
    return Descriptor(
        mediatype.OCI_MANIFEST, digest, 700, {keys.DISKTYPE: disk_type}, platform=Platform(architecture, os)
    )


def container(seed: str, architecture: str = "amd64") -> Descriptor:
    digest = Digest.of(seed.encode())
    return Descriptor(mediatype.OCI_MANIFEST, digest, 400, {"note": seed}, platform=Platform(architecture, "linux"))


architectures = st.sampled_from(["x86_64", "amd64", "aarch64", "arm64", "riscv64", "sparc"])
disks = st.builds(
    disk, st.text(max_size=3), architectures, st.sampled_from(["qemu", "qcow2", "raw", "applehv", "hyperv", "other"])
)
others = st.one_of(
    st.builds(container, st.text(max_size=3), architectures),
    st.builds(lambda seed: replace(container(seed), platform=None), st.text(max_size=3)),
    st.builds(lambda seed: replace(disk(seed), platform=None), st.text(max_size=3)),
)
entries = st.lists(st.one_of(disks, others), max_size=8)
indexes = st.builds(
    lambda manifests, note: Index(tuple(manifests), annotations={"note": note}, extra={"future": [1]}),
    entries,
    st.text(max_size=3),
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (disk("a", "x86_64", "qemu"), disk("b", "amd64", "qcow2")),
        (disk("a", "aarch64", "applehv"), disk("b", "arm64", "raw")),
        (disk("a", "x86_64", "QEMU"), disk("b", "x86_64", "qemu")),
    ],
)
def test_other_names_of_the_same_are_the_same(one, other):
    assert entry_key(one) == entry_key(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (disk("a"), disk("a", "aarch64")),
        (disk("a"), disk("a", disk_type="hyperv")),
        (disk("a"), disk("a", os="freebsd")),
        (disk("a", "sparc"), disk("a", "vax")),
    ],
)
def test_what_differs_in_one_thing_is_another(one, other):
    assert entry_key(one) != entry_key(other)


@given(others)
def test_containers_and_what_says_nothing_have_no_key(entry):
    assert entry_key(entry) is None


@given(indexes, st.lists(disks, max_size=4))
def test_merging_keeps_all_others_in_their_order_and_each_key_once(index, ours):
    merged = merge(index, ours)
    latest = {entry_key(entry): entry for entry in ours}
    assert [entry for entry in merged.manifests if entry_key(entry) not in latest] == [
        entry for entry in index.manifests if entry_key(entry) not in latest
    ]
    for key, entry in latest.items():
        assert [other for other in merged.manifests if entry_key(other) == key] == [entry]
    assert (merged.annotations, merged.extra) == (index.annotations, index.extra)


@given(indexes, st.lists(disks, max_size=4))
def test_merging_again_changes_nothing(index, ours):
    once = merge(index, ours)
    assert merge(once, ours) == once


@given(indexes, st.lists(disks, max_size=4, unique_by=entry_key), st.randoms())
def test_the_order_of_publishers_does_not_matter_to_what_is_there(index, ours, random):
    shuffled = random.sample(ours, len(ours))
    assert set(map(str, merge(index, ours).manifests)) == set(map(str, merge(index, shuffled).manifests))
    one_by_one = index
    for entry in ours:
        one_by_one = merge(one_by_one, [entry])
    assert one_by_one == merge(index, ours)


@given(indexes, disks)
def test_an_entry_takes_the_place_of_the_first_of_its_key(index, entry):
    places = [number for number, other in enumerate(index.manifests) if entry_key(other) == entry_key(entry)]
    merged = merge(index, [entry]).manifests
    if places:
        assert merged.index(entry) <= places[0]
        assert merged[: places[0]] == index.manifests[: places[0]]
    else:
        assert merged == (*index.manifests, entry)


def test_the_first_entry_makes_an_oci_index():
    assert merge(None, [disk("a")]) == Index((disk("a"),))
    docker = Index((container("c"),), media_type=mediatype.DOCKER_INDEX)
    assert merge(docker, [disk("a")]).media_type == mediatype.OCI_INDEX


# -- publishing into a place with a lock ----------------------------------------------------------------------------------


def stored_disk(store: MemoryStore, content: bytes, extension: str = "qcow2", **platform) -> Descriptor:
    layer = Descriptor.of(mediatype.ZSTD, content, annotations={keys.TITLE: f"m.x86_64.qemu.{extension}.zst"})
    manifest = empty_config_manifest((layer,))
    described = store.push_manifest(manifest.to_bytes(), manifest.media_type)
    return replace(described, platform=Platform(**({"architecture": "x86_64", "os": "linux"} | platform)))


def labelled(entry: Descriptor, disk_type: str = "qemu") -> Descriptor:
    return replace(entry, annotations={keys.DISKTYPE: disk_type})


def tag(store, *manifests: Descriptor) -> None:
    index = Index(manifests)
    store.push_manifest(index.to_bytes(), index.media_type, "5.0")


def test_an_entry_that_lost_its_label_is_still_the_one_to_replace():
    store = MemoryStore()
    bare, new = stored_disk(store, b"old"), labelled(stored_disk(store, b"new"))
    tag(store, container("c"), bare)
    publish(store, "5.0", [new], QUIET)
    assert index_of(store) == Index((container("c"), new))


@pytest.mark.parametrize(
    "why", ["another type", "another architecture", "a container's name", "no manifest", "an index"]
)
def test_an_entry_that_is_another_or_says_nothing_stays(why):
    store = MemoryStore()
    new = labelled(stored_disk(store, b"new"))
    stranger = {
        "another type": lambda: stored_disk(store, b"old", "vhdx"),
        "another architecture": lambda: stored_disk(store, b"old", architecture="aarch64"),
        "a container's name": lambda: stored_disk(store, b"old", architecture="amd64"),
        "no manifest": lambda: replace(stored_disk(store, b"old"), digest=Digest("0" * 64)),
        "an index": lambda: replace(
            store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX), platform=Platform("x86_64", "linux")
        ),
    }[why]()
    tag(store, stranger)
    publish(store, "5.0", [new], QUIET)
    assert index_of(store) == Index((stranger, new))


def test_the_manifests_looked_into_are_bounded(monkeypatch):
    store = MemoryStore()
    tag(store, *(stored_disk(store, b"%d" % number, "vhdx") for number in range(200)))
    reads: list[object] = []
    real = MemoryStore.manifest

    def counted(self, selector):
        reads.append(selector)
        return real(self, selector)

    monkeypatch.setattr(MemoryStore, "manifest", counted)
    publish(store, "5.0", [labelled(stored_disk(store, b"new"))], QUIET)
    assert len(reads) < 80


def test_publishing_what_is_there_keeps_the_very_index():
    store = MemoryStore()
    entry = labelled(stored_disk(store, b"x"))
    first = publish(store, "5.0", [entry], QUIET)
    assert publish(store, "5.0", [entry], QUIET) == first


@pytest.mark.parametrize("what", ["artifact", "container image"])
def test_a_tag_of_a_single_manifest_is_left_alone(what):
    store = MemoryStore()
    manifest = empty_config_manifest(())
    if what == "container image":
        manifest = Manifest(replace(EMPTY, media_type=mediatype.OCI_CONFIG), ())
    store.push_manifest(manifest.to_bytes(), manifest.media_type, "5.0")
    with pytest.raises(UsageError, match=f"tag 5.0 holds a single {what}") as caught:
        publish(store, "5.0", [disk("a")], QUIET)
    assert "podman manifest create list docker://REPO:5.0 && " in (caught.value.hint or "")
    assert store.manifest("5.0").data == manifest.to_bytes()


# -- publishing where nothing can be locked -------------------------------------------------------------------------------


@pytest.fixture
def registry():
    with SimulatedRegistry() as server:
        yield server


@pytest.fixture
def store(registry):
    reference = parse_reference(f"{registry.host}/m:5.0")
    assert isinstance(reference, RegistryReference)
    with Registries() as registries:
        found = registries.repository(reference, push=True)
        registry.add_blob(b"{}")
        yield found


PREFIX = f"haulout.{Digest.of(b'5.0').hex[:16]}."


def announce_as_before(store, entry: Descriptor, *, age=timedelta(), **changed: str) -> str:
    """Announce as releases before 0.3 do; return the tag."""
    stated = {
        keys.CREATED: (datetime.now(UTC) - age).isoformat(),
        keys.INTENT_TAG: "5.0",
        keys.INTENT_ENTRY: json.dumps(entry.to_json()),
    } | {getattr(keys, key): value for key, value in changed.items()}
    manifest = empty_config_manifest((EMPTY,), artifact_type=mediatype.INTENT_ARTIFACT, annotations=stated)
    key = entry_key(entry)
    assert key is not None
    name = f"{PREFIX}{key[1]}.{key[2]}"
    store.push_manifest(manifest.to_bytes(), manifest.media_type, name)
    return name


def announce(store, entry: Descriptor, *, age=0, done=False, tag="5.0", **changed) -> str:
    """Announce as another publisher does, ``age`` seconds ago; return the tag."""
    index = Index((entry,), artifact_type=mediatype.INTENT_ARTIFACT, annotations={keys.INTENT_TAG: tag})
    index = replace(index, **changed)
    made = int((time.time() - age) * 1000)
    name = f"haulout.{Digest.of(tag.encode()).hex[:16]}.{made:012x}.0123abcd{'.done' if done else ''}"
    store.push_manifest(index.to_bytes(), index.media_type, name)
    return name


def helper_tags(store) -> list[str]:
    return [tag for tag in store.tags() if is_helper_tag(tag)]


def test_a_publisher_alone_leaves_its_tag_and_nothing_else(store):
    publish(store, "5.0", [disk("ours")], QUIET)
    assert list(store.tags()) == ["5.0"]


def test_what_others_announced_lately_comes_along(store):
    theirs, ours = disk("theirs", "aarch64"), disk("ours")
    name = announce(store, theirs, age=540)
    publish(store, "5.0", [ours], QUIET)
    assert index_of(store) == Index((ours, theirs))
    # It is still under way, and ours stays for it to see.
    mine = [tag for tag in helper_tags(store) if tag != name]
    assert len(mine) == 1
    assert mine[0].endswith(".done")


def test_the_last_one_under_way_removes_all_announcements(store):
    theirs, ours = disk("theirs", "aarch64"), disk("ours")
    announce(store, theirs, done=True)
    publish(store, "5.0", [ours], QUIET)
    assert index_of(store) == Index((ours, theirs))
    assert helper_tags(store) == []


def test_what_a_killed_publisher_left_is_removed_by_the_next(store):
    announce(store, disk("theirs", "aarch64"), age=610)
    announce(store, disk("other", "aarch64"), age=610, tag="6.0")
    recent = announce(store, disk("under way", "aarch64"), tag="6.0")
    announce_as_before(store, disk("old", "riscv64"), age=timedelta(minutes=11))
    publish(store, "5.0", [disk("ours")], QUIET)
    assert index_of(store) == Index((disk("ours"),))
    assert helper_tags(store) == [recent]


def test_the_later_of_two_announcements_of_one_disk_counts(store):
    later = announce(store, disk("later"), age=-5)
    publish(store, "5.0", [disk("ours")], QUIET)
    assert index_of(store) == Index((disk("later"),))
    assert later in helper_tags(store)


def test_what_an_older_release_announced_lately_comes_along(store):
    theirs, ours = disk("theirs", "aarch64"), disk("ours")
    announce_as_before(store, theirs, age=timedelta(minutes=9))
    publish(store, "5.0", [ours], QUIET)
    assert index_of(store) == Index((ours, theirs))


@pytest.mark.parametrize(
    "changed",
    [
        {"CREATED": "yesterday"},
        {"CREATED": "2024-01-01T00:00:00"},
        {"INTENT_TAG": "6.0"},
        {"INTENT_ENTRY": "{"},
        {"INTENT_ENTRY": "[]"},
        {"INTENT_ENTRY": '{"mediaType":"a/b","digest":"sha256:../../x","size":1}'},
    ],
)
def test_what_is_no_announcement_of_an_older_release_is_passed_over(store, changed):
    name = announce_as_before(store, disk("theirs", "aarch64"), **changed)
    publish(store, "5.0", [disk("ours")], QUIET)
    assert index_of(store) == Index((disk("ours"),))
    assert name in helper_tags(store)


@pytest.mark.parametrize(
    "changed", [{"artifact_type": None}, {"artifact_type": "a/b"}, {"annotations": {keys.INTENT_TAG: "6.0"}}]
)
def test_another_index_under_the_tag_of_an_announcement_is_passed_over_and_stays(store, changed):
    name = announce(store, disk("theirs", "aarch64"), **changed)
    old = announce(store, disk("x", "aarch64"), age=900, artifact_type="a/b")
    publish(store, "5.0", [disk("ours")], QUIET)
    assert index_of(store) == Index((disk("ours"),))
    assert helper_tags(store) == sorted([name, old])


def test_a_push_that_fails_leaves_no_helper_tag(store, registry):
    registry.before = lambda request: Response(400) if request.method == "PUT" and "/5.0" in request.path else None
    with pytest.raises(RegistryError):
        publish(store, "5.0", [disk("ours")], QUIET)
    assert registry.tags == {}


def test_a_registry_that_cannot_delete_gets_no_helper_tag(store, registry):
    registry.before = lambda request: Response(405) if request.method == "DELETE" else None
    publish(store, "5.0", [disk("ours")], QUIET)
    assert list(store.tags()) == ["5.0"]
    assert registry.seen("GET", "/tags/list")[:-1] == []


def test_an_entry_taken_out_by_a_late_write_is_put_back_where_nothing_can_be_announced(store, registry):
    theirs = Index((disk("theirs", "aarch64"),)).to_bytes()

    def late(request):
        if request.method == "DELETE":
            return Response(405)
        if request.method == "GET" and request.path.endswith("/5.0") and ("m", "5.0") in registry.tags and not wrote:
            wrote.append(registry.add_manifest("m", theirs, mediatype.OCI_INDEX, "5.0"))
        return None

    wrote: list[str] = []
    registry.before = late
    publish(store, "5.0", [disk("ours")], QUIET)
    assert index_of(store) == Index((disk("theirs", "aarch64"), disk("ours")))


def test_the_longest_tag_is_announced_too(store):
    name = "t" * 128
    publish(store, name, [disk("ours")], QUIET)
    assert index_of(store, name) == Index((disk("ours"),))


def test_tags_that_may_not_be_listed_are_mentioned(store, registry):
    registry.before = lambda request: Response(403) if "/tags/" in request.path else None
    notes: list[str] = []

    class Told(NullProgress):
        def note(self, message: str) -> None:
            notes.append(message)

    publish(store, "5.0", [disk("ours")], Told())
    assert index_of(store) == Index((disk("ours"),))
    assert "cannot be seen" in notes[0]
    registry.before = None
    assert list(store.tags()) == ["5.0"]


# -- the tables of a disk ------------------------------------------------------------------------------------------------


def tables(of: Descriptor, seed: str = "t") -> Descriptor:
    return tables_entry(Descriptor(mediatype.OCI_MANIFEST, Digest.of((seed + of.digest.hex).encode()), 300), of.digest)


def test_tables_come_last_and_go_with_their_disk():
    one, other, new = disk("a"), disk("b", "aarch64"), disk("c")
    index = merge(None, [one, tables(one), other, tables(other)])
    assert index == Index((one, other, tables(one), tables(other)))
    assert merge(index, [new, tables(new)]) == Index((new, other, tables(other), tables(new)))
    # An older release replaces the disk and leaves its tables behind.
    assert merge(Index((other, tables(one), tables(other))), [new]) == Index((other, new, tables(other)))


def test_tables_that_are_there_stay_where_another_tool_put_them():
    one, other = disk("a"), disk("b", "aarch64")
    index = Index((tables(one), one, container("c"), tables(other), other))
    assert merge(index, [one, tables(one)]) == index


def test_no_client_takes_tables_for_a_disk_or_a_container():
    entry = tables(disk("a"))
    assert entry_key(entry) is None
    assert classify(entry).role is Role.ATTACHMENT
    assert entry.platform == Platform("unknown", "unknown")


def test_tables_that_lost_their_annotations_still_go_with_their_disk():
    store = MemoryStore()
    old, new = labelled(stored_disk(store, b"old")), labelled(stored_disk(store, b"new"))
    manifest = empty_config_manifest((), artifact_type=mediatype.TOC_ARTIFACT, annotations=tables(old).annotations)
    bare = replace(
        store.push_manifest(manifest.to_bytes(), manifest.media_type), platform=Platform("unknown", "unknown")
    )
    tag(store, old, bare)
    publish(store, "5.0", [new, tables(new)], QUIET)
    assert index_of(store) == Index((new, tables(new)))
