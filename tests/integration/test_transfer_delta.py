"""Deltas against the real docker-registry, which keeps referrers under a fallback tag, and in layouts."""

from __future__ import annotations

import io
import os
import subprocess
import urllib.request
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.support.deltas import TASK
from tests.support.disks import MIB, noise, qcow2_disk, raw_disk
from tests.support.publish import publish_blob
from tests.support.servers import docker_registry, needs

from haulout.disk import DiskType
from haulout.errors import ContentError, DigestMismatch, InvalidDelta, NoMatchingDisk, NotFoundError, StorageError
from haulout.fetch.deltas import load_hints, load_index, offered
from haulout.frames.blocks import BLOCK, hash_blocks
from haulout.frames.delta.expand import Located, expand
from haulout.frames.seeds import SeedIndex, Wanted, scan
from haulout.oci import (
    EMPTY,
    Architecture,
    Descriptor,
    Digest,
    Index,
    RegistryReference,
    SizedDigest,
    empty_config_manifest,
    mediatype,
    parse_any,
    parse_reference,
)
from haulout.oci import annotations as keys
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions, Registries
from haulout.resolve import DiskQuery
from haulout.resolve import resolve as find
from haulout.resolve.toc import load_toc
from haulout.usecases.delta import delta
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("own_places"), needs("docker-registry")]
X86, ARM = Architecture.X86_64, Architecture.AARCH64


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Two versions of a disk: a part has small changes, a part is new, a part is elsewhere."""
    folder = tmp_path_factory.mktemp("disks")
    old, new = raw_disk(folder / "old.raw", data_mib=12), folder / "new.raw"
    data = bytearray(old.read_bytes())
    for place in range(2 * MIB, 5 * MIB, BLOCK):
        data[place + 10 : place + 20] = b"0123456789"
    data[30 * MIB : 31 * MIB] = noise("a fix", MIB)
    data[40 * MIB : 41 * MIB] = data[6 * MIB : 7 * MIB]
    new.write_bytes(data)
    return old, new


@pytest.fixture(params=["registry", "layout"])
def place(request, tmp_path, disks):
    """Where both are published, under tags 1 and 2; a function from a tag to its reference."""
    server = request.getfixturevalue("registry") if request.param == "registry" else None

    def reference(tag: str):
        return parse_reference(f"{server.host}/team/machine:{tag}" if server else f"oci:{tmp_path}/layout:{tag}")

    for tag, path in zip("12", disks, strict=True):
        push(reference(tag), [DiskSource(path, X86)], level=1)
    return reference


def make(place, **options):
    return delta(place("1"), place("2"), architecture=X86, **{"level": 3} | options)


def use(reference, path):
    """What a client does: list, load, look for the old disk in ``path``, expand; return the hints that came out."""
    with open_store(reference, ConnectionOptions(), NullProgress()) as store:
        found = find(store, reference, DiskQuery(X86, None))
        toc = load_toc(store, found, NullProgress())
        assert toc is not None
        (offer,) = offered(store, found, toc)
        index = load_index(store, offer, toc)
        fd, out = os.open(path, os.O_RDONLY), os.memfd_create("new")
        try:
            hints = load_hints(store, offer)
            located = Located.of(index, hints, SeedIndex([scan(fd, Wanted(hints), TASK)]))
            usable = located.usable()
            written = expand(index, usable, store, offer.data, located.pieces, [fd], out, TASK)
            return offer, index, usable, np.asarray(hash_blocks(memoryview(os.pread(out, written, 0))))
        finally:
            os.close(fd)
            os.close(out)


def lacking(old, new):
    one, two = (set(hash_blocks(memoryview(path.read_bytes())).tolist()) for path in (old, new))
    return two - one


def test_a_delta_is_found_and_gives_what_the_old_disk_lacks(place, disks, tmp_path):
    made = make(place)
    assert (made.status, made.segments) == ("pushed", 1)
    assert made.index is not None
    assert made.data is not None
    # A MiB of noise is new; the rest is small.
    assert MIB < made.index.size + made.data.size < MIB + 64 * 1024
    offer, _, usable, out = use(place("2"), disks[0])
    assert (offer.manifest, offer.source, offer.size) == (made.manifest, made.source, made.index.size + made.data.size)
    assert usable == [0]
    assert set(out.tolist()) == lacking(*disks)
    assert made.new == len(out) * BLOCK
    assert list((tmp_path / "tmp").iterdir()) == [], "the disks that were pulled are gone again"


@needs("qemu-img")
def test_the_old_disk_may_be_in_another_format(place, disks, tmp_path):
    make(place)
    _, _, usable, out = use(place("2"), qcow2_disk(tmp_path / "old.qcow2", disks[0]))
    assert usable == [0]
    assert set(out.tolist()) == lacking(*disks)


def test_making_it_again_changes_nothing(place, disks):
    first = make(place)
    again = make(place)
    assert (again.status, again.manifest, again.index) == ("present", first.manifest, first.index)
    forced = make(place, again=True, old_file=disks[0], new_file=disks[1])
    assert (forced.status, forced.manifest) == ("present", first.manifest)
    other = make(place, again=True, old_file=disks[0], new_file=disks[1], level=1)
    assert other.status == "pushed"
    assert other.manifest != first.manifest


def test_what_is_there_costs_few_requests_and_no_disk(registry, disks):
    def place(tag):
        return parse_reference(f"{registry.host}/team/machine:{tag}")

    for tag, path in zip("12", disks, strict=True):
        push(place(tag), [DiskSource(path, X86)], level=1)
    made = make(place)
    before = registry.count()
    again = make(place)
    assert registry.count() - before <= 14
    assert again.traffic.requests == registry.count() - before
    assert again.traffic.received < 64 * 1024
    assert made.traffic.sent > MIB


def test_files_at_hand_are_used_and_checked(place, disks, tmp_path):
    old, new = disks
    with pytest.raises(ContentError, match="is not the disk that"):
        make(place, old_file=new)
    with pytest.raises(ContentError, match="not the disk that was published"):
        make(place, old_file=old, new_file=old)
    with pytest.raises(StorageError, match="not a disk file"):
        make(place, old_file=tmp_path)
    with pytest.raises(StorageError, match="no such file"):
        make(place, old_file=tmp_path / "missing")
    with pytest.raises(NotFoundError):
        use(place("3"), old)
    assert make(place, old_file=old, new_file=new).status == "pushed"


def test_the_same_disk_needs_no_delta(place):
    made = delta(place("2"), place("2"), architecture=X86)
    assert (made.status, made.manifest, made.segments) == ("needless", None, 0)


def test_a_disk_that_lost_something_needs_no_delta(place, disks, tmp_path):
    less = tmp_path / "less.raw"
    data = bytearray(disks[0].read_bytes())
    data[3 * MIB : 4 * MIB] = bytes(MIB)
    less.write_bytes(data)
    push(place("3"), [DiskSource(less, X86)])
    made = delta(place("1"), place("3"), architecture=X86)
    assert (made.status, made.manifest) == ("needless", None)


def test_old_and_new_in_different_places(registry, tmp_path, disks):
    here = parse_reference(f"oci:{tmp_path}/layout:1")
    there = parse_reference(f"{registry.host}/other/name:2")
    push(here, [DiskSource(disks[0], X86)], level=1)
    push(there, [DiskSource(disks[1], X86)], level=1)
    made = delta(here, there, architecture=X86)
    assert made.status == "pushed"
    assert set(use(there, disks[0])[3].tolist()) == lacking(*disks)


def test_nothing_is_made_where_there_is_nothing(place, tmp_path):
    with pytest.raises(NotFoundError):
        delta(place("1"), place("9"), architecture=X86)
    with pytest.raises(NotFoundError):
        delta(parse_reference(f"oci:{tmp_path}/nowhere:1"), place("2"), architecture=X86)
    with pytest.raises(NotFoundError):
        delta(place("1"), parse_reference(f"oci:{tmp_path}/nowhere:1"), architecture=X86)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(NoMatchingDisk):
        delta(place("1"), place("2"), architecture=ARM)


@needs("zstd")
def test_an_old_disk_of_another_publisher_is_hashed(registry, disks, tmp_path):
    """Without table or digest: it is pulled whole, and what it hashes to is what the delta starts from."""
    old, new = disks
    blob = subprocess.run(["zstd", "-q", "-c", old], capture_output=True, check=True).stdout
    publish_blob(registry, "podman/machine", "5.0", blob, "machine.x86_64.applehv.raw.zst", "applehv")
    foreign = parse_reference(f"{registry.host}/podman/machine:5.0")
    ours = parse_reference(f"{registry.host}/team/machine:2")
    push(ours, [DiskSource(new, X86)], level=1)
    made = delta(foreign, ours, architecture=X86)
    assert made.source == SizedDigest(Digest.of(old.read_bytes()), old.stat().st_size)
    assert set(use(ours, old)[3].tolist()) == lacking(*disks)
    assert delta(foreign, ours, architecture=X86, old_file=old).status == "present"
    # The other way round, there is nothing that blocks could be found by.
    with pytest.raises(ContentError, match="no table of contents"):
        delta(ours, foreign, architecture=X86)


def test_a_disk_that_states_another_digest_is_refused(registry, disks, tmp_path):
    """An old disk without table whose file is not what its publisher's annotation says."""
    old, new = disks
    reference = parse_reference(f"{registry.host}/team/machine:1")
    assert isinstance(reference, RegistryReference)
    blob = old.read_bytes()
    with Registries(ConnectionOptions()) as registries, registries.repository(reference, push=True) as store:
        layer = Descriptor.of(mediatype.OCTETS, blob, annotations={keys.TITLE: "d.raw"})
        store.push_blob(layer, lambda: io.BytesIO(blob))
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        wrong = SizedDigest(Digest.of(b"another"), len(blob))
        manifest = empty_config_manifest(
            (layer,), artifact_type=mediatype.DISK_ARTIFACT, annotations={keys.DISK: str(wrong)}
        )
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    ours = parse_reference(f"{registry.host}/team/machine:2")
    push(ours, [DiskSource(new, X86)], level=1)
    with pytest.raises(DigestMismatch):
        delta(reference, ours, architecture=X86)


def attach(reference, index_blob: bytes, data_blob: bytes, annotations, *, types=None, subject=None, layers=None):
    """Attach something that calls itself a delta to the disk of ``reference``."""
    types = types or (mediatype.DELTA_INDEX, mediatype.DELTA_DATA)
    with open_store(reference, ConnectionOptions(), NullProgress(), push=True) as store:
        found = find(store, reference, DiskQuery(X86, None))
        blobs = tuple(Descriptor.of(kind, each) for kind, each in zip(types, (index_blob, data_blob), strict=True))
        for each, content in zip(blobs, (index_blob, data_blob), strict=True):
            store.push_blob(each, partial(io.BytesIO, content))
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        manifest = empty_config_manifest(
            layers or blobs,
            artifact_type=mediatype.DELTA_ARTIFACT,
            subject=subject or found.stored.descriptor.bare(),
            annotations=annotations,
        )
        return store.push_manifest(manifest.to_bytes(), manifest.media_type).digest


def listed(reference, known=()):
    with open_store(reference, ConnectionOptions(), NullProgress()) as store:
        found = find(store, reference, DiskQuery(X86, None))
        toc = load_toc(store, found, NullProgress())
        assert toc is not None
        return [(offer, _outcome(store, offer, toc)) for offer in offered(store, found, toc, known=known)]


def _outcome(store, offer, toc):
    try:
        return load_index(store, offer, toc)
    except (ContentError, NotFoundError) as error:
        return error


def test_hostile_referrers_are_passed_over_and_the_good_one_is_used(place, disks):
    made = make(place)
    assert made.index is not None
    assert made.data is not None
    good, index, _, _ = use(place("2"), disks[0])
    encoded = index.encode()
    source = {keys.DELTA_FROM: str(made.source)}
    with open_store(place("2"), ConnectionOptions(), NullProgress()) as store, store.open_blob(good.data) as stream:
        data = stream.read(good.data.size)
    attach(place("2"), b"no index", data, source)
    attach(place("2"), encoded, data[:-1], source)
    attach(place("2"), encoded, data, {keys.DELTA_FROM: "sha256:0 many"})
    attach(place("2"), encoded, data, {})
    attach(place("2"), encoded, data, {keys.DELTA_FROM: str(SizedDigest(Digest.of(b"x"), 5))})
    attach(place("2"), encoded, data, source, types=(mediatype.DELTA_DATA, mediatype.DELTA_INDEX))
    huge = (Descriptor.of(mediatype.DELTA_INDEX, encoded), replace(good.data, size=1 << 50))
    attach(place("2"), encoded, data, source, layers=huge)
    target = replace(index, target=SizedDigest(Digest.of(b"another disk"), index.target.size))
    attach(place("2"), target.encode(), data, source)
    beyond = replace(index, target=SizedDigest(index.target.digest, 1 << 40))
    attach(place("2"), beyond.encode(), data, source)
    outcomes = listed(place("2"), known=[made.source])
    errors = [outcome for _, outcome in outcomes if isinstance(outcome, Exception)]
    assert len(outcomes) == 6, "of ten, four do not look like deltas of this disk"
    assert len(errors) == 5
    assert all(isinstance(error, InvalidDelta) for error in errors)
    assert [offer.manifest for offer, outcome in outcomes if not isinstance(outcome, Exception)] == [made.manifest]
    # Making it again finds the good one among them.
    assert make(place).status == "present"


def test_deltas_from_disks_that_are_here_are_read_first(place, disks):
    """Of many deltas eight are read; what the client can use comes first, then the latest."""
    made = make(place)
    _, index, _, _ = use(place("2"), disks[0])
    for number in range(12):
        strange = SizedDigest(Digest.of(b"%d" % number), 1)
        attach(place("2"), index.encode(), b"%d" % number, {keys.DELTA_FROM: str(strange)})
    assert len(listed(place("2"))) == 8
    assert made.manifest not in [offer.manifest for offer, _ in listed(place("2"))]
    assert listed(place("2"), known=[made.source])[0][0].manifest == made.manifest


def test_a_delta_whose_blobs_are_gone_is_made_again(registry, disks):
    def place(tag):
        return parse_reference(f"{registry.host}/team/machine:{tag}")

    for tag, path in zip("12", disks, strict=True):
        push(place(tag), [DiskSource(path, X86)], level=1)
    made = make(place)
    assert made.data is not None
    request = urllib.request.Request(f"{registry.url}/v2/team/machine/blobs/{made.data.digest}", method="DELETE")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 202
    assert make(place).manifest == made.manifest
    assert set(use(place("2"), disks[0])[3].tolist()) == lacking(*disks)


def test_pushing_with_a_delta_attaches_it(place, disks):
    pushed = push(
        place("3"),
        [DiskSource(disks[1], X86), DiskSource(disks[1], ARM)],
        delta_from=[place("1")],
    )
    (made,) = pushed.deltas
    assert (made.status, made.architecture, made.disk_type) == ("pushed", "x86_64", "applehv")
    assert made.pinned == place("3").at(pushed.disks[0].manifest)
    assert set(use(place("3"), disks[0])[3].tolist()) == lacking(*disks)
    again = push(place("3"), [DiskSource(disks[1], X86)], delta_from=[place("1")])
    assert [each.status for each in again.deltas] == ["present"]


def test_a_push_whose_delta_cannot_be_made_leaves_the_tag_alone(place, disks):
    with pytest.raises(NotFoundError):
        push(place("3"), [DiskSource(disks[1], X86)], delta_from=[place("nowhere")])
    with pytest.raises(NotFoundError):
        use(place("3"), disks[0])


@needs("qemu-img")
def test_disks_of_every_type_get_theirs(place, disks):
    types = (DiskType.QEMU, DiskType.HYPERV)
    push(place("4"), [DiskSource(disks[0], ARM)], also=types)
    pushed = push(place("5"), [DiskSource(disks[1], ARM)], also=types, delta_from=[place("4")])
    assert [each.disk_type for each in pushed.deltas] == ["applehv", "qemu", "hyperv"]
    assert {each.status for each in pushed.deltas} == {"pushed"}


def test_the_fallback_tag_lists_the_delta(registry, disks):
    def place(tag):
        return parse_reference(f"{registry.host}/team/machine:{tag}")

    for tag, path in zip("12", disks, strict=True):
        push(place(tag), [DiskSource(path, X86)], level=1)
    made = make(place)
    assert made.pinned.digest is not None
    url = f"{registry.url}/v2/team/machine/manifests/sha256-{made.pinned.digest.hex}"
    request = urllib.request.Request(url, headers={"Accept": mediatype.OCI_INDEX})
    with urllib.request.urlopen(request, timeout=10) as answer:
        index = parse_any(answer.read(), "fallback")
    assert isinstance(index, Index)
    entries = {entry.artifact_type: entry for entry in index.manifests}
    entry = entries[mediatype.DELTA_ARTIFACT]
    assert entry.digest == made.manifest
    assert entry.annotations == {keys.DELTA_FROM: str(made.source)}


def test_new_blocks_are_numbered_as_the_hints_are(place, disks):
    """With nothing but the index and the published hints, a reader knows which blocks a segment gives."""
    make(place)
    _, index, _, out = use(place("2"), disks[0])
    with open_store(place("2"), ConnectionOptions(), NullProgress()) as store:
        toc = load_toc(store, find(store, place("2"), DiskQuery(X86, None)), NullProgress())
        assert toc is not None
        with store.open_blob(Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)) as stream:
            hints = np.frombuffer(stream.read(toc.hints.size), "<u8")
    assert hints[index.blocks_of(0)].tolist() == out.tolist()
