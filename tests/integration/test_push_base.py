"""Pushing after a base: found by itself or named, in registries and layouts, honest, damaged or hostile."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.disks import leftovers, noise, raw_disk, sha256
from tests.support.publish import publish_blob
from tests.support.servers import docker_registry, needs, nginx
from tests.support.simulators.registry import Response, SimulatedRegistry

from haulout.content.layout import LayoutStore
from haulout.frames.small_frames import read_bundle
from haulout.frames.toc import Toc
from haulout.oci import Architecture, Descriptor, Digest, Index, Manifest, SizedDigest, mediatype, parse_reference
from haulout.oci import annotations as keys
from haulout.publish.index import tables_of
from haulout.registry import ConnectionOptions
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

X86, ARM = Architecture.X86_64, Architecture.AARCH64
FAST = ConnectionOptions(attempts=2, stall_seconds=1.5, connect_seconds=2.0)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> tuple[Path, Path]:
    """A disk, and the same with a block changed, some inserted, and a stretch replaced."""
    folder = tmp_path_factory.mktemp("versions")
    old = raw_disk(folder / "old.raw", data_mib=12, size_mib=64)
    content = bytearray(old.read_bytes())
    content[2 * MIB : 2 * MIB + 4096] = noise("one", 4096)
    content[3 * MIB : 3 * MIB + 200_704] = noise("more", 200_704)
    new = folder / "new.raw"
    with new.open("wb") as file:
        file.truncate(64 * MIB)
        file.write(content[: 8 * MIB])
        file.seek(58 * MIB)
        file.write(noise("inserted", 3 * 4096) + content[58 * MIB : 64 * MIB - 3 * 4096])
    return old, new


class Notes:
    """Keeps what a push says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def task(self, name, total, *, unit="B", done=0):
        from haulout.progress import NullProgress

        return NullProgress().task(name, total)

    def note(self, message):
        self.notes.append(message)


def pushed(reference, disk, **options):
    """Push one disk; returns what was pushed, the result, and the notes."""
    progress = Notes()
    options.setdefault("connections", FAST)
    result = push(reference, [DiskSource(disk, options.pop("architecture", X86))], progress=progress, jobs=2, **options)
    return result.disks[0], result, progress.notes


def came_back(reference, disk, tmp_path, architecture=X86):
    """Pull, with the whole disk's SHA-256 checked."""
    out = tmp_path / "came-back.raw"
    out.unlink(missing_ok=True)
    pull(reference, architecture=architecture, output=out, check_disk=True, connections=FAST)
    assert sha256(out) == sha256(disk)
    assert leftovers(tmp_path) == []


@pytest.fixture
def layout(tmp_path):
    return lambda tag="1.0", name="layout": parse_reference(f"oci:{tmp_path / name}:{tag}")


def blob_file(reference, digest):
    return Path(reference.name.removeprefix("oci:")) / "blobs/sha256" / digest.hex


# -- which base --------------------------------------------------------------------------------------------------------


def test_the_tag_before_is_the_base(layout, versions, tmp_path):
    old, new = versions
    first, _, notes = pushed(layout("5.9"), old)
    assert (first.base, notes) == (None, [])
    pushed(layout("4.0"), new)
    second, _, notes = pushed(layout("5.10"), new)
    assert notes == []
    assert second.base is not None
    assert str(second.base.reference).endswith(str(first.manifest))
    assert second.base.frames >= 4
    assert second.base.bytes > first.blob.size // 4
    came_back(layout("5.10"), new, tmp_path)


def test_the_present_disk_of_the_tag_comes_first(layout, versions, tmp_path):
    old, new = versions
    pushed(layout("0.9"), new)
    first, _, _ = pushed(layout(), old)
    second, _, _ = pushed(layout(), new)
    assert second.base is not None
    assert second.base.reference.digest == first.manifest
    came_back(layout(), new, tmp_path)


def test_a_disk_of_another_processor_is_no_base(layout, versions):
    old, new = versions
    pushed(layout(), old)
    second, _, notes = pushed(layout("1.1"), new, architecture=ARM)
    assert (second.base, notes) == (None, [])


def test_a_base_can_be_named_and_left_out(layout, versions, tmp_path):
    old, new = versions
    first, _, _ = pushed(layout("1.0", "elsewhere"), old)
    second, _, _ = pushed(layout(), new, base=layout("1.0", "elsewhere"))
    assert second.base is not None
    assert second.base.reference.digest == first.manifest
    third, _, _ = pushed(layout("1.1"), new, use_base=False)
    assert third.base is None
    plain, _, _ = pushed(layout("1.0", "alone"), new)
    assert third.blob == plain.blob, "without a base all is as ever"
    came_back(layout(), new, tmp_path)


def test_a_base_that_is_not_there_costs_a_note(layout, versions, tmp_path):
    _, new = versions
    for missing in (layout("9", "nowhere"), parse_reference("127.0.0.1:1/a/b:c")):
        disk, _, notes = pushed(layout(), new, base=missing)
        assert disk.base is None
        assert len(notes) == 1
        assert "cannot be used as base" in notes[0]
        pushed(layout(), versions[0])
    came_back(layout(), versions[0], tmp_path)


def test_over_the_same_disk_the_blob_is_the_same(layout, versions):
    _, new = versions
    first, _, _ = pushed(layout("1.0", "one"), new)
    second, _, _ = pushed(layout("1.0", "two"), new, base=layout("1.0", "one"))
    assert (second.blob, second.toc) == (first.blob, first.toc)
    assert second.base is not None
    assert second.base.frames > 0


def test_a_higher_level_takes_nothing_over(layout, versions, tmp_path):
    old, new = versions
    pushed(layout("1.0"), old, level=3)
    second, _, _ = pushed(layout("1.1"), new, level=9)
    assert second.base is not None
    assert second.base.frames == 0
    third, _, _ = pushed(layout("1.2"), old, level=3)
    assert third.base is not None
    assert third.base.frames > 0
    came_back(layout("1.2"), old, tmp_path)


def test_crumbs_are_published_and_right(layout, versions):
    old, new = versions
    pushed(layout("1.0"), old)
    disk, _, _ = pushed(layout("1.1"), new)
    with LayoutStore(layout().name.removeprefix("oci:")) as store:
        manifest = store.manifest(disk.manifest).parse("manifest")
        assert isinstance(manifest, Manifest)
        crumbs = SizedDigest.parse(manifest.annotations[keys.CRUMBS], keys.CRUMBS)
        data = blob_file(layout(), crumbs.digest).read_bytes()
        assert len(data) == crumbs.size
        toc = Toc.decode(blob_file(layout(), disk.toc.digest).read_bytes())
        content = new.read_bytes()
        found = dict(read_bundle(data, toc))
        assert found
        for frame, plain in found.items():
            at = toc.disk_offsets[frame]
            assert plain == content[at : at + len(plain)]
        index = store.manifest("1.1").parse("the index")
        assert isinstance(index, Index)
        (tables,) = (entry for entry in index.manifests if tables_of(entry) == disk.manifest)
        listed = store.manifest(tables.digest).parse("its tables")
        assert isinstance(listed, Manifest)
        assert [layer.media_type for layer in listed.layers] == [mediatype.TOC, mediatype.HINTS, mediatype.CRUMBS]


# -- damaged and hostile bases ---------------------------------------------------------------------------------------------


def spoil_frames(reference, disk):
    path = blob_file(reference, disk.blob.digest)
    data = bytearray(path.read_bytes())
    for at in range(40, len(data), 1000):
        data[at] ^= 0x55
    path.write_bytes(data)


def cut_blob(reference, disk):
    path = blob_file(reference, disk.blob.digest)
    path.write_bytes(path.read_bytes()[:-1])


def remove_blob(reference, disk):
    blob_file(reference, disk.blob.digest).unlink()


def remove_toc(reference, disk):
    blob_file(reference, disk.toc.digest).unlink()


def spoil_toc(reference, disk):
    path = blob_file(reference, disk.toc.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"\7")


def _table(reference, disk):
    return Toc.decode(blob_file(reference, disk.toc.digest).read_bytes())


def remove_hints(reference, disk):
    blob_file(reference, _table(reference, disk).hints.digest).unlink()


def spoil_hints(reference, disk):
    path = blob_file(reference, _table(reference, disk).hints.digest)
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (spoil_frames, "does not match its table of contents"),
        (cut_blob, "no more frames are reused"),
        (remove_blob, "no more frames are reused"),
        (remove_toc, "no table of contents"),
        (spoil_toc, "cannot be used as base"),
        (remove_hints, None),
        (spoil_hints, "cannot be used as base"),
    ],
)
def test_a_damaged_base_costs_a_note_and_never_a_push(layout, versions, tmp_path, damage, note):
    old, new = versions
    old_disk, _, _ = pushed(layout("1.0", "bad"), old)
    damage(layout("1.0", "bad"), old_disk)
    disk, _, notes = pushed(layout(), new, base=layout("1.0", "bad"))
    assert len(notes) == 1
    assert note is None or note in notes[0]
    assert disk.base is None or disk.base.frames < 8
    came_back(layout(), new, tmp_path)


def republished(reference, disk, change):
    """Publish the manifest of ``disk`` again with a table (and hints) changed by ``change``: consistent, but lying."""
    toc = _table(reference, disk)
    hints = blob_file(reference, toc.hints.digest).read_bytes()
    toc, hints = change(toc, hints)
    toc = replace(toc, hints=SizedDigest(Digest.of(hints), len(hints)))
    data = toc.encode()
    with LayoutStore(reference.name.removeprefix("oci:")) as store:
        store.push_blob(Descriptor.of(mediatype.TOC, data), lambda: io.BytesIO(data))
        store.push_blob(Descriptor.of(mediatype.HINTS, hints), lambda: io.BytesIO(hints))
        manifest = store.manifest(disk.manifest).parse("manifest")
        assert isinstance(manifest, Manifest)
        annotations = {**manifest.annotations, keys.TOC: f"{Digest.of(data)} {len(data)}"}
        lying = replace(manifest, annotations=annotations)
        described = store.push_manifest(lying.to_bytes(), lying.media_type)
        index = store.manifest(reference.tag).parse("index")
        assert isinstance(index, Index)
        entry = replace(index.manifests[0], digest=described.digest, size=described.size)
        changed = replace(index, manifests=(entry,))
        store.push_manifest(changed.to_bytes(), changed.media_type, reference.tag)


def other_places(toc, hints):
    """Frames lie elsewhere in the blob than the table says; their sum is right."""
    data = toc.data_frames
    compressed = toc.compressed[:]
    compressed[data[0]] += 1
    compressed[data[-1]] -= 1
    return replace(toc, compressed=compressed), hints


def hints_reversed(toc, hints):
    return toc, np.frombuffer(hints, "<u8")[::-1].tobytes()


def hints_all_the_same(toc, hints):
    return toc, hints[:8] * (len(hints) // 8)


def hints_random(toc, hints):
    return toc, os.urandom(len(hints))


@pytest.mark.parametrize("lie", [other_places, hints_reversed, hints_all_the_same, hints_random])
def test_a_base_that_lies_is_found_out(layout, versions, tmp_path, lie):
    old, new = versions
    old_disk, _, _ = pushed(layout("1.0", "bad"), old)
    republished(layout("1.0", "bad"), old_disk, lie)
    disk, _, _ = pushed(layout(), new, base=layout("1.0", "bad"))
    assert disk.base is not None
    assert disk.base.frames <= 4
    came_back(layout(), new, tmp_path)


# -- registries ----------------------------------------------------------------------------------------------------------


@pytest.mark.tools
@needs("docker-registry")
def test_a_registry_is_its_own_base_and_mounts_what_is_there(versions, tmp_path):
    old, new = versions
    with docker_registry(tmp_path) as server:

        def at(text):
            return parse_reference(f"{server.host}/{text}")

        pushed(at("a/m:1.0"), old)
        second, result, notes = pushed(at("a/m:1.1"), new)
        assert notes == []
        assert second.base is not None
        assert second.base.frames > 0
        assert result.traffic.received > second.base.bytes
        came_back(at("a/m:1.1"), new, tmp_path)
        # The same disk in another repository: everything is there already, and nothing but manifests is sent.
        third, result, _ = pushed(at("b/other:1"), new, base=at("a/m:1.1"), title="m")
        assert third.blob == second.blob
        assert result.traffic.sent < 8192
        assert server.count("POST", "mount=") >= 3
        came_back(at("b/other:1"), new, tmp_path)
        _, result, _ = pushed(at("b/fresh:1"), new)
        assert result.traffic.sent > third.blob.size


@pytest.mark.tools
@needs("docker-registry")
def test_disks_of_other_tools_are_no_base_but_are_told_of(versions, tmp_path):
    old, new = versions
    with docker_registry(tmp_path) as server:
        publish_blob(server, "m", "1.0", old.read_bytes()[: 2 * MIB], "m.x86_64.applehv.raw.zst", "applehv")
        disk, _, notes = pushed(parse_reference(f"{server.host}/m:1.1"), new)
        assert disk.base is None
        assert len(notes) == 1
        assert "no table of contents" in notes[0]
        came_back(parse_reference(f"{server.host}/m:1.1"), new, tmp_path)


@pytest.mark.tools
@needs("docker-registry")
def test_few_requests_are_made_to_find_a_base(versions, tmp_path):
    _, new = versions
    small = raw_disk(tmp_path / "small.raw", data_mib=1, size_mib=8)
    with docker_registry(tmp_path) as server:
        for tag in range(12):
            pushed(parse_reference(f"{server.host}/m:1.{tag}"), small, architecture=ARM, use_base=False)
        before = server.count("GET")
        disk, _, _ = pushed(parse_reference(f"{server.host}/m:2.0"), new)
        assert disk.base is None
        # The reads of any push, one list of tags, and an index for each tag that is tried.
        assert server.count("GET") - before < 24


@pytest.mark.tools
@needs("docker-registry", "nginx")
def test_a_slow_registry_is_not_waited_for(versions, tmp_path):
    old, new = versions
    with docker_registry(tmp_path) as server:
        pushed(parse_reference(f"{server.host}/m:1.0"), old)
        with nginx(tmp_path, server, extra="limit_rate 100k;") as slow:
            began = time.monotonic()
            disk, result, _ = pushed(
                parse_reference(f"{server.host}/x:1"), new, base=parse_reference(f"{slow.host}/m:1.0")
            )
            took = time.monotonic() - began
        assert disk.base is not None
        assert took < 10
        assert result.traffic.received < disk.blob.size // 2
        came_back(parse_reference(f"{server.host}/x:1"), new, tmp_path)


@pytest.mark.parametrize("answer", [Response(404), Response(500), Response(200, body=b"not it"), Response(403)])
def test_a_base_that_vanishes_midway(versions, tmp_path, answer):
    old, new = versions
    with SimulatedRegistry() as registry:
        reference = parse_reference(f"{registry.host}/m:1.0")
        first, _, _ = pushed(reference, old)
        seen = 0

        def before(request):
            nonlocal seen
            if request.method == "GET" and str(first.blob.digest) in request.path:
                seen += 1
                return answer if seen > 1 else None
            return None

        registry.before = before
        disk, _, notes = pushed(parse_reference(f"{registry.host}/m:1.1"), new)
        registry.before = None
        assert disk.base is not None
        assert len([note for note in notes if "base" in note]) <= 1
        came_back(parse_reference(f"{registry.host}/m:1.1"), new, tmp_path)


def test_a_registry_that_refuses_mounts_gets_the_blob(versions, tmp_path):
    old, new = versions
    with SimulatedRegistry() as registry:
        pushed(parse_reference(f"{registry.host}/a:1.0"), old)
        registry.before = lambda request: Response(403) if "mount" in request.query else None
        disk, _, _ = pushed(
            parse_reference(f"{registry.host}/b:1.0"), new, base=parse_reference(f"{registry.host}/a:1.0")
        )
        assert disk.base is not None
        assert json.dumps(str(disk.blob.digest)) in json.dumps([f"sha256:{d[7:]}" for d in registry.blobs])
        came_back(parse_reference(f"{registry.host}/b:1.0"), new, tmp_path)


# -- the command line --------------------------------------------------------------------------------------------------


def haulout(tmp_path, *words):
    argv = [sys.executable, "-m", "haulout", "push", *map(str, words), "--arch", "x86_64", "--jobs", "2"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_command_says_which_base_there_was(versions, tmp_path):
    old, new = versions
    haulout(tmp_path, "oci:l:1", old)
    base = json.loads(haulout(tmp_path, "oci:l:2", new, "--json").stdout)["disks"][0]["base"]
    assert base["reference"].startswith("oci:l@sha256:")
    assert base["frames"] > 0 < base["bytes"]
    assert json.loads(haulout(tmp_path, "oci:l:3", new, "--base", "none", "--json").stdout)["disks"][0]["base"] is None
    named = haulout(tmp_path, "oci:m:1", new, "--base", "oci:l:2")
    assert "reused " in named.stdout
    assert " of oci:l@sha256:" in named.stdout
    missing = haulout(tmp_path, "oci:m:2", old, "--base", "oci:l:9", "--json")
    assert "oci:l:9 cannot be used as base" in missing.stderr
    assert json.loads(missing.stdout)["disks"][0]["base"] is None


def test_a_base_that_is_no_reference_is_a_usage_error(tmp_path):
    argv = [sys.executable, "-m", "haulout", "push", "oci:l:1", "d.raw", "--base", "not a reference"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") <= 3
