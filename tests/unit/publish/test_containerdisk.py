"""Container disks beside disks: what CDI reads, what a repeated push sends, and what stands in the way."""

from __future__ import annotations

import io
import json
from functools import partial

import pytest
from tests.support.cdi import import_from_layout
from tests.support.disks import MIB, qcow2_disk, raw_disk
from tests.support.recording_progress import RecordingProgress
from tests.support.servers import needs
from tests.unit.fetch.test_containerdisk import archive

from haulout.content.layout import LayoutStore
from haulout.disk import DiskType
from haulout.errors import UsageError
from haulout.oci import Architecture, Descriptor, Index, Manifest, Platform, mediatype
from haulout.publish import container_disk_sources
from haulout.usecases.lookup import inventory, resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

X86, ARM = Architecture.X86_64, Architecture.AARCH64
QEMU, APPLE, HYPERV, WSL = DiskType.QEMU, DiskType.APPLEHV, DiskType.HYPERV, DiskType.WSL


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def raw(tmp_path):
    return raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8)


def test_the_qcow2_disk_is_taken_else_the_raw_one():
    assert container_disk_sources([(X86, APPLE), (X86, QEMU), (ARM, HYPERV), (ARM, APPLE)]) == [1, 3]
    with pytest.raises(UsageError, match="aarch64 is made of a qcow2 or raw disk") as caught:
        container_disk_sources([(X86, QEMU), (ARM, HYPERV), (ARM, WSL)])
    assert "--also qemu" in str(caught.value.hint)


def test_cdi_reads_the_disk_of_each_architecture(tmp_path, raw):
    other = raw_disk(tmp_path / "arm.raw", data_mib=1, size_mib=8, seed="arm")
    sources = [DiskSource(raw, X86), DiskSource(other, ARM)]
    done = push(f"oci:{tmp_path}/m:1", sources, container_disk=True)
    assert [(each.architecture, each.status) for each in done.container_disks] == [
        ("amd64", "pushed"),
        ("arm64", "pushed"),
    ]
    for architecture, disk, report in (("amd64", raw, 0), ("arm64", other, 1)):
        found = import_from_layout(tmp_path / "m", "1", architecture)
        assert (found.data, found.owner, found.mode) == (disk.read_bytes(), (107, 107), 0o440)
        assert f"/{found.name}" == done.container_disks[report].path


def test_it_is_pulled_back_when_it_is_asked_for(tmp_path, raw):
    reference = f"oci:{tmp_path}/m:1"
    done = push(reference, raw, container_disk=True)
    found = resolve(reference, disk_type="container-disk")
    assert (found.digest, found.container_disk, found.disk) == (
        done.container_disks[0].manifest,
        True,
        done.disks[0].disk,
    )
    assert resolve(reference).disk_type == "applehv"
    for place, kind in ((reference, "container-disk"), (f"oci:{tmp_path}/m@{found.digest}", None)):
        pulled = pull(place, disk_type=kind, output=tmp_path / "out", find_seeds=False, check_disk=True)
        assert (pulled.shape, (tmp_path / "out").read_bytes()) == ("container-disk", raw.read_bytes())
        (tmp_path / "out").unlink()
    held = inventory(reference)
    assert (held.shape, [item.disk_type for item in held.disks]) == ("index", ["applehv", "container-disk"])


def blobs(layout):
    return sorted(path.name for path in (layout / "blobs/sha256").iterdir())


def test_it_is_reproducible_and_a_repeated_push_writes_nothing(tmp_path, raw):
    first = push(f"oci:{tmp_path}/a/machines:1", raw, container_disk=True)
    before = blobs(tmp_path / "a/machines")
    again = push(f"oci:{tmp_path}/a/machines:1", raw, container_disk=True)
    elsewhere = push(f"oci:{tmp_path}/b/machines:1", raw, container_disk=True, jobs=1)
    assert [each.container_disks[0].status for each in (first, again, elsewhere)] == ["pushed", "present", "pushed"]
    assert blobs(tmp_path / "a/machines") == before
    assert (first.index, first.index) == (again.index, elsewhere.index)


def test_annotations_reach_the_image_and_cost_no_second_upload(tmp_path, raw):
    reference = f"oci:{tmp_path}/m:1"
    first = push(reference, raw, container_disk=True)
    asked = {"vendor": "a", "manifest-descriptor:channel": "b", "org.opencontainers.image.title": "A machine"}
    pushes = [push(reference, raw, container_disk=True, annotations=given) for given in (asked, asked, {})]
    assert [each.container_disks[0].status for each in pushes] == ["pushed", "present", "present"]
    assert pushes[0].container_disks[0].blob == first.container_disks[0].blob
    assert len({each.index for each in pushes}) == 1
    (item,) = [item for item in inventory(reference).disks if item.disk_type == "container-disk"]
    assert (item.annotations["vendor"], item.descriptor.annotations["channel"]) == ("a", "b")
    assert f"/disk/{item.annotations['org.opencontainers.image.title']}" == pushes[2].container_disks[0].path


def test_the_next_version_takes_its_place(tmp_path, raw):
    reference = f"oci:{tmp_path}/m:1"
    push(reference, raw, container_disk=True)
    newer = raw_disk(tmp_path / "n.raw", data_mib=1, size_mib=8, seed="next")
    done = push(reference, newer, container_disk=True)
    assert done.container_disks[0].status == "pushed"
    assert len(inventory(reference).disks) == 2
    assert import_from_layout(tmp_path / "m", "1", done.container_disks[0].architecture).data == newer.read_bytes()


def test_another_image_for_the_same_processor_is_not_replaced(tmp_path, raw):
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    layer = archive(("etc/x", b"y"))
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    layers = (Descriptor.of("application/vnd.oci.image.layer.v1.tar", layer),)
    manifest = Manifest(described, layers)
    with LayoutStore(str(tmp_path / "m"), create=True) as store:
        for descriptor, data in ((described, config), (layers[0], layer)):
            store.push_blob(descriptor, partial(io.BytesIO, data))
        stored = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        index = Index((Descriptor(stored.media_type, stored.digest, stored.size, platform=Platform("amd64", "linux")),))
        store.push_manifest(index.to_bytes(), index.media_type, "1")
    before = blobs(tmp_path / "m")
    with pytest.raises(UsageError, match="another container image for amd64"):
        push(f"oci:{tmp_path}/m:1", raw, architecture="x86_64", container_disk=True)
    assert blobs(tmp_path / "m") == before
    assert push(f"oci:{tmp_path}/m:1", raw, architecture="aarch64", container_disk=True).container_disks


@pytest.mark.tools
@needs("qemu-img")
def test_of_several_formats_the_qcow2_goes_in(tmp_path, raw):
    reference = f"oci:{tmp_path}/m:1"
    done = push(reference, qcow2_disk(tmp_path / "d.qcow2", raw), also=["raw", "hyperv"], container_disk=True)
    assert done.container_disks[0].path.endswith(".qemu.qcow2")
    pull(reference, disk_type="container-disk", output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "d.qcow2").read_bytes()


def test_without_a_disk_for_it_nothing_is_pushed(tmp_path):
    (tmp_path / "root.tar").write_bytes(archive(("bin/sh", b"x")))
    with pytest.raises(UsageError, match="qcow2 or raw"):
        push(f"oci:{tmp_path}/m:1", tmp_path / "root.tar", container_disk=True)
    assert not (tmp_path / "m").exists() or blobs(tmp_path / "m") == []


def test_a_disk_of_many_pieces_is_whole(tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=8, size_mib=40)
    with disk.open("ab") as file:
        file.truncate(40 * MIB + 512)
    push(f"oci:{tmp_path}/m:1", disk, container_disk=True, jobs=3)
    assert import_from_layout(tmp_path / "m", "1", Architecture.here().go).data == disk.read_bytes()


def test_a_push_that_leaves_the_container_disk_behind_says_so(tmp_path, raw):
    reference = f"oci:{tmp_path}/m:1"
    push(reference, raw, container_disk=True)
    newer = raw_disk(tmp_path / "n.raw", data_mib=1, size_mib=8, seed="next")
    for source, notes in ((raw, []), (newer, [f"the container disk of x86_64 under {reference} still holds"])):
        progress = RecordingProgress()
        push(reference, source, progress=progress)
        assert [note.partition(" the disk before")[0] for note in progress.notes] == notes
