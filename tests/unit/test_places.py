"""One session of places: each is opened once, and what a reference names is read once."""

from __future__ import annotations

import pytest
from tests.support.publish import publish_blob
from tests.support.simulators.registry import Response, SimulatedRegistry

from haulout.content import LayoutStore
from haulout.errors import NotFoundError
from haulout.oci import Architecture, Index, mediatype, parse_reference
from haulout.places import Places, open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery


@pytest.fixture
def registry():
    with SimulatedRegistry() as server:
        yield server


def test_each_place_is_opened_once(registry, tmp_path):
    def at(text):
        return parse_reference(f"{registry.host}/{text}")

    with Places() as places:
        reading = places.open(at("a:1"))
        assert places.open(at("a:2")) is reading
        writing = places.open(at("a:1"), push=True)
        assert writing is not reading
        assert places.open(at("a:3")) is writing, "it reads as well"
        assert places.open(at("b:1")) is not writing
        layout = parse_reference(f"oci:{tmp_path}/layout:1")
        assert places.open(layout, push=True) is places.open(layout)
        assert places.traffic.requests == 0


def test_a_reference_is_read_once_for_all_its_disks(registry):
    for architecture in ("x86_64", "aarch64"):
        publish_blob(registry, "m", architecture, b"disk", f"m.{architecture}.qemu.qcow2.zst", "qemu", architecture)
    reference = parse_reference(f"{registry.host}/m:x86_64")
    with Places() as places:
        first = places.resolve(reference, DiskQuery(Architecture.X86_64))
        assert places.resolve(reference, DiskQuery(Architecture.X86_64)) == first
        assert places.resolve(first.pinned, DiskQuery()).digest == first.digest
        assert places.root(reference).descriptor.is_index
        # The tag and the manifest.
        assert places.traffic.requests == 2
        with pytest.raises(NotFoundError):
            places.resolve(reference.with_tag("none"), DiskQuery())


def test_a_layout_appears_only_where_it_is_written_to(tmp_path):
    reference = parse_reference(f"oci:{tmp_path}/layout:1")
    with Places() as places:
        with pytest.raises(NotFoundError):
            places.open(reference)
        store = places.open(reference, push=True)
        store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX, "1")
        assert places.root(reference).parse("tag") == Index(())
    with LayoutStore(f"{tmp_path}/layout") as layout:
        assert list(layout.tags()) == ["1"]


def test_one_place_alone(tmp_path):
    reference = parse_reference(f"oci:{tmp_path}/layout:1")
    with open_store(reference, ConnectionOptions(), NullProgress(), push=True) as store:
        assert list(store.tags()) == []


def missing(registry, text, **options):
    with Places(ConnectionOptions(**options)) as places, pytest.raises(NotFoundError) as error:
        places.root(parse_reference(f"{registry.host}/{text}"))
    return str(error.value), str(error.value.hint)


def test_a_tag_and_a_repository_that_are_missing_are_told_apart(registry):
    for tag in ("5.0", "5.1", "6.0", "haulout.0123456789abcdef.x"):
        registry.add_manifest("m", b"{}", mediatype.OCI_MANIFEST, tag)
    assert missing(registry, "m:5.2") == (f"no tag 5.2 in {registry.host}/m", "there are 5.1, 5.0, …")
    text, hint = missing(registry, "m")
    assert text == f"no tag latest in {registry.host}/m"
    assert hint == "latest is assumed where no tag is named; there are 5.0, 5.1, 6.0"
    text, hint = missing(registry, "n:5.0")
    assert text == f"there is no repository {registry.host}/n, or it is not for everybody"
    assert "haulout login" in hint


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_tags_that_cannot_be_listed_cost_one_request(registry, status):
    registry.before = lambda request: Response(status) if "tags/list" in request.path else None
    text, hint = missing(registry, "m:1")
    assert text == f"{registry.host}/m:1: not found in {registry.host}"
    assert hint == "None"
    assert len(registry.seen(contains="tags/list")) == 1


def test_a_push_lists_no_tags_for_the_sake_of_a_hint(registry):
    reference = parse_reference(f"{registry.host}/m:1")
    with Places() as places:
        places.open(reference, push=True)
        with pytest.raises(NotFoundError):
            places.root(reference)
    assert not registry.seen(contains="tags/list")
