"""Names given and names accepted: always plain file names, whatever a publisher writes."""

from __future__ import annotations

import string
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.content.ports import StoredManifest
from haulout.disk import DiskFormat, DiskType
from haulout.errors import ContentError, InvalidReference, UsageError
from haulout.oci import Architecture, Descriptor, empty_config_manifest, mediatype, parse_reference
from haulout.oci import annotations as keys
from haulout.resolve import ResolvedDisk, Shape
from haulout.resolve.names import base_name, file_name, title_for

X86 = Architecture.X86_64


def found(title: str | None, reference: str = "quay.io/podman/machine-os:5.0", **changes) -> ResolvedDisk:
    layer = Descriptor.of(mediatype.ZSTD, b"x", annotations={} if title is None else {keys.TITLE: title})
    manifest = empty_config_manifest((layer,))
    data = manifest.to_bytes()
    stored = StoredManifest(Descriptor.of(manifest.media_type, data), data)
    settings = {"architecture": X86, "disk_type": "qemu"} | changes
    return ResolvedDisk(parse_reference(reference), Shape.SINGLE, stored, manifest, (layer,), **settings)


def is_plain(name: str) -> bool:
    return (
        name == PurePosixPath(name).name
        and name not in {"", ".", ".."}
        and not name.startswith((".", "-"))
        and name.isprintable()
    )


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("quay.io/podman/machine-os:5.0", "machine-os"),
        ("localhost:5000/m:1", "m"),
        ("oci:machines:5.0", "machines"),
        ("oci:/var/lib/my disks/:5.0", "my-disks"),
        ("oci:..:5.0", "disk"),
        ("oci:.hidden:5.0", "hidden"),
        ("oci:Fotos-é:1", "Fotos"),
    ],
)
def test_a_title_begins_with_the_last_part_of_the_repository(reference, name):
    assert base_name(parse_reference(reference)) == name


@given(st.text(st.characters(exclude_characters=":", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60))
def test_whatever_a_layout_is_called_its_disks_get_a_plain_title(folder):
    try:
        reference = parse_reference(f"oci:{folder}:5.0")
    except InvalidReference:
        return
    title = title_for(base_name(reference), X86, DiskType.QEMU)
    assert is_plain(title)
    assert title.endswith(".x86_64.qemu.qcow2.zst")


@pytest.mark.parametrize("disk_type", DiskType)
def test_titles_have_the_form_that_podmans_cache_depends_on(disk_type):
    title = title_for("podman-machine", Architecture.AARCH64, disk_type)
    assert title == f"podman-machine.aarch64.{disk_type}.{disk_type.disk_format}.zst"


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "-rf", ".x", "x\n", "\x1b[2J", "ü", " x"])
def test_what_cannot_begin_a_title_is_refused(name):
    with pytest.raises(UsageError, match="cannot begin a title") as caught:
        title_for(name, X86, DiskType.QEMU)
    assert caught.value.hint


def test_a_long_repository_is_called_too_long_with_the_room_there_is():
    with pytest.raises(UsageError, match="is too long for a title: 190 characters; at most 178 fit") as caught:
        title_for("x" * 190, X86, DiskType.QEMU)
    assert "--title" in (caught.value.hint or "")
    assert title_for("x" * 178, X86, DiskType.QEMU)


@given(
    st.one_of(st.text(max_size=50), st.text(string.ascii_letters + "./\\-~ _\0\n", max_size=250)),
    st.sampled_from([None, *DiskFormat]),
)
def test_a_title_is_a_plain_name_or_refused(title, as_format):
    try:
        name = file_name(found(title), as_format)
    except ContentError:
        return
    assert is_plain(name)
    assert as_format is None or name.endswith(f".{as_format.extension}")


@pytest.mark.parametrize(
    "title",
    ["", ".", "..", "../evil", "/etc/passwd", "a/b", "a\\b", ".bashrc", "-o", "a\nb", "a\0b", "x" * 201, ".zst", " "],
)
def test_titles_that_are_no_plain_names_are_refused(title):
    with pytest.raises(ContentError, match="not a plain file name"):
        file_name(found(title), None)


@pytest.mark.parametrize(
    ("title", "as_format", "name"),
    [
        ("m.x86_64.qemu.qcow2.zst", None, "m.x86_64.qemu.qcow2"),
        ("m.x86_64.qemu.qcow2.zst", DiskFormat.QCOW2, "m.x86_64.qemu.qcow2"),
        ("m.x86_64.qemu.qcow2.zst", DiskFormat.RAW, "m.x86_64.qemu.qcow2.raw"),
        ("debian 12.raw.xz", None, "debian 12.raw"),
        ("a.zst.gz", None, "a.zst"),
        ("zst", None, "zst"),
        ("_", None, "_"),
        (None, None, "machine-os.x86_64.qemu.disk"),
        (None, DiskFormat.VMDK, "machine-os.x86_64.qemu.disk.vmdk"),
    ],
)
def test_a_disk_is_named_by_its_title_without_the_compression(title, as_format, name):
    assert file_name(found(title), as_format) == name


def test_nothing_known_is_left_out_of_a_name():
    assert file_name(found(None, architecture=None, disk_type=None), None) == "machine-os.disk"


@given(st.text(max_size=300))
def test_a_disk_type_of_another_publisher_is_no_path_either(disk_type):
    assert is_plain(file_name(found(None, disk_type=disk_type), None))
    assert len(file_name(found(None, disk_type=disk_type), None)) < 80
