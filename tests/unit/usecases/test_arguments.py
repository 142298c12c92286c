"""Arguments that may be text."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from haulout.disk import DiskType
from haulout.errors import InvalidPlatform, InvalidReference, UsageError
from haulout.oci import Architecture, parse_reference
from haulout.usecases.arguments import architecture_of, disk_type_of, path_of, paths_of, reference_of


@pytest.mark.parametrize("text", ["quay.io/podman/machine-os:5.3", "oci:/srv/disks:5.0"])
def test_a_reference_may_be_text(text):
    parsed = parse_reference(text)
    assert reference_of(text) == parsed
    assert reference_of(parsed) is parsed


def test_what_is_not_a_reference_is_refused():
    with pytest.raises(InvalidReference):
        reference_of("UPPER:case")
    with pytest.raises(UsageError, match="not PosixPath"):
        reference_of(Path("disk"))  # type: ignore[arg-type]


def test_a_path_may_be_text():
    assert path_of("a/b") == path_of(PurePosixPath("a/b")) == Path("a/b")
    assert paths_of(["a", Path("b")]) == (Path("a"), Path("b"))
    assert paths_of("seed.raw") == (Path("seed.raw"),)


@pytest.mark.parametrize("value", [None, 3, b"disk"])
def test_what_is_not_a_path_is_refused(value):
    with pytest.raises(UsageError, match=f"not {type(value).__name__}"):
        path_of(value)


@pytest.mark.parametrize(
    ("text", "architecture"),
    [("arm64", Architecture.AARCH64), ("amd64", Architecture.X86_64), (Architecture.S390X, Architecture.S390X)],
)
def test_an_architecture_has_two_names(text, architecture):
    assert architecture_of(text) is architecture


@pytest.mark.parametrize(
    ("text", "disk_type"), [("qcow2", DiskType.QEMU), ("raw", DiskType.APPLEHV), (DiskType.WSL, DiskType.WSL)]
)
def test_a_disk_type_goes_by_its_format_too(text, disk_type):
    assert disk_type_of(text) is disk_type


def test_unknown_words_name_the_known_ones():
    with pytest.raises(InvalidPlatform, match="unknown architecture 'vax'") as caught:
        architecture_of("vax")
    assert "aarch64 (arm64)" in caught.value.known
    with pytest.raises(InvalidPlatform, match="unknown disk type 'xen'") as caught:
        disk_type_of("xen")
    assert {"qemu", "qcow2"} <= set(caught.value.known)
