"""Updates by the map of a published delta: neither hints nor a search, and nothing wrong from a map that lies."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.deltas import delta_between, toc_of
from tests.support.disks import MIB, leftovers, noise, qcow2_disk, raw_disk, sha256
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import docker_registry, needs

from haulout.cli.pull import lines
from haulout.disk import DiskType
from haulout.fetch.deltas import load_index, offered
from haulout.frames.blocks import BLOCK
from haulout.frames.delta.map import Map, Source
from haulout.oci import EMPTY, Architecture, Descriptor, empty_config_manifest, mediatype, parse_reference
from haulout.oci import annotations as keys
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery
from haulout.resolve import resolve as find
from haulout.resolve.toc import load_toc
from haulout.usecases.delta import delta
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

pytestmark = [pytest.mark.tools, pytest.mark.usefixtures("own_places"), needs("docker-registry")]
X86 = Architecture.X86_64
END = b"the end of a disk that ends within a block".ljust(512)


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """Two versions: 2 MiB shifted by a few bytes, a MiB in another place, new things that occur twice, another end."""
    folder = tmp_path_factory.mktemp("disks")
    old, new = raw_disk(folder / "old.raw", data_mib=24), folder / "new.raw"
    data = bytearray(old.read_bytes())
    part = data[2 * MIB : 4 * MIB - 100]
    for number in range(10):
        part[number * 190_000 : number * 190_000] = b"inserted %d" % number
    data[2 * MIB : 4 * MIB] = part[: 2 * MIB]
    data[40 * MIB : 41 * MIB] = data[6 * MIB : 7 * MIB]
    data[14 * MIB : 14 * MIB + 8 * BLOCK] = data[44 * MIB : 44 * MIB + 8 * BLOCK] = noise("twice", 8 * BLOCK)
    new.write_bytes(bytes(data) + END)
    return old, new


class Place:
    """A registry with both versions and a delta."""

    def __init__(self, server, disks):
        self.server = server
        for tag, disk in zip("12", disks, strict=True):
            push(self.reference(tag), [DiskSource(disk, X86)])
        options = {"architecture": X86, "disk_type": DiskType.APPLEHV, "old_file": disks[0], "new_file": disks[1]}
        self.made = delta(self.reference("1"), self.reference("2"), **options)
        with open_store(self.reference("2"), ConnectionOptions(), NullProgress()) as store:
            self.found = find(store, self.reference("2"), DiskQuery(X86, None))
            toc = load_toc(store, self.found, NullProgress())
            assert toc is not None
            (self.offer,) = offered(store, self.found, toc)
            self.index = load_index(store, self.offer, toc)
            assert self.offer.hints is not None
            self.blobs = (self.offer.hints, self.offer.data)
            self.hints = str(toc.hints.digest)

    def reference(self, tag):
        return parse_reference(f"{self.server.host}/team/machine:{tag}")

    def get(self, tag, output, **options):
        return pull(self.reference(tag), architecture=X86, output=output, **options)

    def asked_for_hints(self):
        """How often the hints of the new disk and those of the delta were asked for."""
        digests = (self.hints, self.blobs[0].digest)
        return tuple(self.server.count("GET", f"/blobs/{digest}") for digest in digests)

    def lie(self, index):
        """Attach the same delta with another index, so that it is the one a reader tries first."""
        with open_store(self.reference("2"), ConnectionOptions(), NullProgress(), push=True) as store:
            blobs = []
            for blob in self.blobs:
                with store.open_blob(blob) as stream:
                    blobs.append(stream.read(blob.size))
            attach(store, self.found, index, *blobs)
        assert len(index.encode()) < self.offer.index.size, (
            "of several deltas from one disk, the smallest is tried first"
        )


def attach(store, found, index, hints, data):
    """Attach a delta to a disk."""
    contents = {mediatype.DELTA_INDEX: index.encode(), mediatype.DELTA_HINTS: hints, mediatype.DELTA_DATA: data}
    layers = tuple(Descriptor.of(kind, content) for kind, content in contents.items() if content)
    for layer in layers:
        store.push_blob(layer, partial(io.BytesIO, contents[layer.media_type]))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    manifest = empty_config_manifest(
        layers,
        artifact_type=mediatype.DELTA_ARTIFACT,
        subject=found.stored.descriptor.bare(),
        annotations={keys.DELTA_FROM: str(index.source)},
    )
    store.push_manifest(manifest.to_bytes(), manifest.media_type)


@pytest.fixture
def place(tmp_path, disks):
    with docker_registry(tmp_path) as server:
        yield Place(server, disks)


def booted(path, source, places):
    """A copy of a disk in which a machine wrote a block in each of ``places``."""
    data = bytearray(source.read_bytes())
    for at in places:
        data[at : at + BLOCK] = noise(f"guest {at}", BLOCK)
    path.write_bytes(data)
    return path


def test_the_old_disk_as_published_needs_neither_hints_nor_a_search(place, disks, tmp_path):
    told, before = RecordingProgress(), place.server.count()
    planned = place.get("2", tmp_path / "b.raw", seeds=[disks[0]], find_seeds=False, dry_run=True)
    assert planned.traffic.requests == place.server.count() - before
    result = place.get("2", tmp_path / "b.raw", seeds=[disks[0]], find_seeds=False, progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert place.asked_for_hints() == (0, 0)
    assert not [name for name in told.names if name.startswith(("searching", "comparing"))]
    assert result.moved.delta is not None
    assert planned.moved.fetched == result.moved.fetched
    assert planned.moved == result.moved
    assert result.traffic.requests <= 8
    toc = result.moved.index - place.offer.index.size
    assert result.moved.fetched == toc + place.offer.size
    # Its index was 8 bytes for each of these old blocks, and as much for the blocks of each changed frame.
    assert place.offer.index.size < 8 * place.index.old.total / 4
    assert [use.path for use in result.moved.seeds] == [disks[0]]
    assert result.moved.seeds[0].size > 20 * MIB
    assert leftovers(tmp_path) == []


def test_an_earlier_pull_needs_neither_hints_nor_a_search(place, disks, tmp_path):
    place.get("1", tmp_path / "a.raw")
    told = RecordingProgress()
    result = place.get("2", tmp_path / "b.raw", progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert place.asked_for_hints() == (0, 0)
    assert not [name for name in told.names if name.startswith("searching")]
    assert result.moved.delta is not None
    assert result.traffic.requests <= 8


def test_a_machine_that_wrote_to_its_disk_costs_the_frames_it_changed(place, disks, tmp_path):
    """In what stays, in what a segment refers to, and in what was zeros."""
    seed = booted(tmp_path / "old.raw", disks[0], [3 * MIB, 12 * MIB, 50 * MIB])
    clean = place.get("2", tmp_path / "a.raw", seeds=[disks[0]], find_seeds=False)
    told = RecordingProgress()
    result = place.get("2", tmp_path / "b.raw", seeds=[seed], find_seeds=False, progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert place.asked_for_hints() == (0, 0)
    assert any("no longer in the seeds" in note for note in told.notes)
    assert 1 <= result.moved.ranges <= 4
    assert result.moved.fetched < clean.moved.fetched + 3 * MIB


@needs("qemu-img")
@pytest.mark.parametrize("layout", ["qcow2", "moved", "rewritten"])
def test_another_layout_falls_back_to_hints(place, disks, tmp_path, layout):
    seed = tmp_path / "seed"
    if layout == "qcow2":
        qcow2_disk(seed, disks[0])
    elif layout == "moved":
        seed.write_bytes(noise("before", 7 * BLOCK) + disks[0].read_bytes())
    else:
        booted(seed, disks[0], range(0, 24 * MIB, 64 * BLOCK))
    result = place.get("2", tmp_path / "b.raw", seeds=[seed], find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    hints, reference = place.asked_for_hints()
    assert hints >= 1
    assert reference == 1
    assert result.moved.fetched < (0.6 if layout == "rewritten" else 0.2) * result.blob.size
    assert (result.moved.delta is not None) == (layout != "rewritten")


@needs("qemu-img")
@pytest.mark.parametrize("layout", ["raw", "qcow2"])
def test_a_plan_counts_the_old_blocks_of_frames_that_the_delta_completes(place, disks, tmp_path, layout):
    """Cut without regard to the old disk, as a first push is, frames have old and new blocks."""
    reference = parse_reference(f"{place.server.host}/team/afresh:2")
    push(reference, [DiskSource(disks[1], X86)])
    files = {"old_file": disks[0], "new_file": disks[1]}
    delta(place.reference("1"), reference, architecture=X86, disk_type=DiskType.APPLEHV, **files)
    seed = disks[0] if layout == "raw" else qcow2_disk(tmp_path / "seed.qcow2", disks[0])
    options = {"architecture": X86, "output": tmp_path / "b.raw", "seeds": [seed], "find_seeds": False}
    planned, result = pull(reference, dry_run=True, **options), pull(reference, **options)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert planned.moved.delta == result.moved.delta
    assert result.moved.delta is not None
    assert planned.moved.seeds == result.moved.seeds
    # Those of the plan are made already, and those to come are not known.
    assert "request" not in "".join(lines(planned))
    assert f"1 delta, {result.traffic.requests} requests" in "".join(lines(result))


def lying(index):
    """A map that fits the disks and is wrong nearly everywhere: the old disk from its beginning."""
    total = index.map.total
    return replace(index, map=Map.of(np.full(total, Source.OLD, np.uint8), np.arange(total)))


def test_a_map_that_lies_of_a_file_nobody_knows_is_noticed_before_it_is_used(place, disks, tmp_path):
    place.lie(lying(place.index))
    before = place.asked_for_hints()[1]
    result = place.get("2", tmp_path / "b.raw", seeds=[disks[0]], find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.fetched < 0.2 * result.blob.size
    # Frames that are where they were are found without hints; the few others need theirs.
    assert place.asked_for_hints()[1] == before + 1
    assert result.moved.delta is not None


def test_a_map_that_lies_of_a_known_disk_costs_only_a_fetch(place, disks, tmp_path):
    place.get("1", tmp_path / "a.raw")
    place.lie(lying(place.index))
    result = place.get("2", tmp_path / "b.raw")
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.fetched < result.blob.size
    assert [name for name in leftovers(tmp_path) if "b.raw" in name] == []


def test_old_blocks_that_are_wrong_cost_only_a_fetch(place, disks, tmp_path):
    """The index names other reference blocks than the data was made with."""
    old = replace(place.index.old, skips=place.index.old.skips * 0, takes=place.index.old.takes[:1] * 0 + 1)
    old = replace(old, counts=np.array([1], np.uint32), skips=old.skips[:1])
    old = replace(old, takes=np.array([place.index.old.total], np.uint32))
    place.lie(replace(place.index, old=old))
    result = place.get("2", tmp_path / "b.raw", seeds=[disks[0]], find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.fetched < 0.5 * result.blob.size


def test_a_map_serves_ranges_where_they_are_cheaper_than_the_delta(place, tmp_path):
    """New blocks that resemble nothing are no smaller in a delta than in the disk's blob."""
    old = raw_disk(tmp_path / "old.raw", data_mib=12)
    data = bytearray(old.read_bytes())
    data[4 * MIB : 5 * MIB] = noise("a fix", MIB)
    (tmp_path / "new.raw").write_bytes(data)
    push(place.reference("3"), [DiskSource(old, X86)])
    push(place.reference("4"), [DiskSource(tmp_path / "new.raw", X86)])
    toc, _ = toc_of(tmp_path, bytes(data))
    made = delta_between(tmp_path, old.read_bytes(), bytes(data))
    assert made is not None
    with open_store(place.reference("4"), ConnectionOptions(), NullProgress(), push=True) as store:
        found = find(store, place.reference("4"), DiskQuery(X86, None))
        loaded = load_toc(store, found, NullProgress())
        assert loaded is not None
        assert loaded.hints == toc.hints
        # Compressed badly, as far as the format allows.
        size = 256 * (BLOCK + 64) + 64
        index = replace(made.index, compressed=np.array([size], np.uint32))
        attach(store, found, index, made.reference_hints.tobytes(), bytes(size))
    told, before = RecordingProgress(), place.server.count("GET", "/blobs/")
    result = place.get("4", tmp_path / "b.raw", seeds=[old], find_seeds=False, progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(tmp_path / "new.raw")
    assert result.moved.delta is None
    assert result.moved.ranges >= 1
    assert not [name for name in told.names if name.startswith("searching")]
    # The table, the delta's index, and the ranges.
    assert place.server.count("GET", "/blobs/") - before == 2 + result.moved.ranges
    assert MIB < result.moved.fetched < 1.1 * MIB


def test_another_named_file_is_searched_for_what_the_old_disk_lacks(place, disks, tmp_path):
    """The old disk as published, and the new one in another format: nothing has to be fetched but hints."""
    seeds = [disks[0], qcow2_disk(tmp_path / "new.qcow2", disks[1])]
    result = place.get("2", tmp_path / "b.raw", seeds=seeds, find_seeds=False)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert (result.moved.delta, result.moved.ranges) == (None, 0)


def test_of_two_known_disks_the_smaller_delta_is_taken(place, disks, tmp_path):
    between = tmp_path / "between.raw"
    data = bytearray(disks[1].read_bytes())
    for at in range(2 * MIB, 4 * MIB, 32 * BLOCK):
        data[at + 100] ^= 1
    between.write_bytes(data)
    push(place.reference("between"), [DiskSource(between, X86)])
    delta(place.reference("between"), place.reference("2"), architecture=X86, disk_type=DiskType.APPLEHV)
    told = RecordingProgress()
    for tag in ("1", "between"):
        place.get(tag, tmp_path / f"{tag}.raw", find_seeds=False)
    result = place.get("2", tmp_path / "b.raw", progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert not [name for name in told.names if name.startswith("searching")]
    assert result.moved.delta is not None
    assert result.moved.delta.digest != place.made.manifest
    assert result.moved.delta.size < place.offer.data.size


def test_of_several_from_one_disk_the_smallest_that_can_be_read_is_taken(place, disks, tmp_path):
    place.lie(SimpleNamespace(encode=lambda: b"damaged", source=place.index.source))
    told = RecordingProgress()
    result = place.get("2", tmp_path / "b.raw", seeds=[disks[0]], find_seeds=False, progress=told)
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
    assert result.moved.delta is not None
    assert result.moved.delta.digest == place.made.manifest
    (note,) = told.notes
    assert "cannot use the delta" in note


def test_a_seed_cut_short_between_plan_and_use_costs_only_a_fetch(place, disks, tmp_path):
    seed = booted(tmp_path / "old.raw", disks[0], [])

    class Cutting(RecordingProgress):
        def task(self, name, total, **options):
            if name == "pulling a delta":
                with suppress(FileNotFoundError):
                    os.truncate(seed, 2 * MIB)
            return super().task(name, total, **options)

    told = Cutting()
    place.get("2", tmp_path / "b.raw", seeds=[seed], find_seeds=False, progress=told)
    assert "pulling a delta" in told.names
    assert sha256(tmp_path / "b.raw") == sha256(disks[1])
