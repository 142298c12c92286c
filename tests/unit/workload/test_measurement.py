"""Expected launch measurements: by sev-snp-measure, from a firmware made here that has OVMF's tables."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from tests.support.workloads import config

from haulout import extras
from haulout.errors import ContentError, StorageError, ToolError, UsageError
from haulout.workload import krun
from haulout.workload.measurement import (
    GivenMeasurement,
    KrunGuest,
    LaunchDigest,
    PageType,
    SnpGuest,
    Vmm,
    expected_measurement,
    snp_launch_digest,
)

pytest.importorskip("sevsnpmeasure", reason="sev-snp-measure is not installed")

FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
HASHES = "7255371f-3a3b-4b04-927b-1da6efa8d454"
RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
METADATA = "dc886566-984a-4798-a75e-5585a7bf67cc"
SECTIONS = ((0x800000, 0x2000, 1), (0x803000, 0x1000, 2), (0x804000, 0x1000, 3), (0x810000, 0x1000, 0x10))
"""Address, size and type: zeroed memory, secrets, CPUID, hashes of the kernel."""


def firmware(path, *, snp=True):
    """Write an OVMF of 8 KiB: its table of tables at the end, and the description of its sections."""
    described = struct.pack("<4sIII", b"ASEV", 16 + 12 * len(SECTIONS), 1, len(SECTIONS))
    described += b"".join(struct.pack("<III", *section) for section in SECTIONS)

    def entry(name, data):
        return data + struct.pack("<H16s", len(data) + 18, uuid.UUID(name).bytes_le)

    size, at = 8192, 4096
    # The page with the hashes of the kernel begins where their table is.
    table = entry(RESET, struct.pack("<I", 0x80B004)) + entry(HASHES, struct.pack("<II", 0x810C00, 0x400))
    if snp:
        table += entry(METADATA, struct.pack("<I", size - at))
    table += struct.pack("<H16s", len(table) + 18, uuid.UUID(FOOTER).bytes_le)
    data = bytearray(b"\x90" * size)
    data[at : at + len(described)] = described
    data[size - 32 - len(table) : size - 32] = table
    path.write_bytes(data)
    return path


@pytest.fixture
def guest(tmp_path):
    return SnpGuest(firmware(tmp_path / "ovmf.fd"))


def test_the_pages_of_a_guest_are_measured_in_order(guest):
    """Counted again with our own digest: only the processors' initial state is taken from the package."""
    from sevsnpmeasure.sev_mode import SevMode
    from sevsnpmeasure.vcpu_types import CPU_SIGS
    from sevsnpmeasure.vmm_types import VMMType
    from sevsnpmeasure.vmsa import VMSA

    digest = LaunchDigest()
    data = guest.ovmf.read_bytes()
    for offset in range(0, len(data), 4096):
        digest.add(PageType.NORMAL, (1 << 32) - len(data) + offset, data[offset : offset + 4096])
    for address in (0x800000, 0x801000):
        digest.add(PageType.ZERO, address)
    digest.add(PageType.SECRETS, 0x803000)
    digest.add(PageType.CPUID, 0x804000)
    digest.add(PageType.ZERO, 0x810000)
    states = VMSA(SevMode.SEV_SNP, 0x80B004, CPU_SIGS["EPYC-v4"], 1, VMMType.QEMU)
    for page in states.pages(2):
        digest.add(PageType.VMSA, 0xFFFFFFFFF000, page)
    assert snp_launch_digest(guest, 2) == digest.value


def test_everything_that_is_booted_counts(guest, tmp_path):
    from dataclasses import replace

    kernel, initrd = tmp_path / "kernel", tmp_path / "initrd"
    kernel.write_bytes(b"kernel")
    initrd.write_bytes(b"initrd")
    direct = replace(guest, kernel=kernel, initrd=initrd, command_line="console=ttyS0")
    found = {snp_launch_digest(guest, 2), snp_launch_digest(direct, 2), snp_launch_digest(direct, 3)}
    for changed in (
        replace(direct, initrd=None),
        replace(direct, command_line="console=ttyS1"),
        replace(direct, kernel=initrd),
        replace(direct, vcpu_type="EPYC-Milan"),
        replace(direct, guest_features=0x21),
        replace(direct, vmm=Vmm.EC2),
    ):
        found.add(snp_launch_digest(changed, 2))
    assert len(found) == 9
    assert all(len(one) == 48 for one in found)
    initrd.write_bytes(b"initrd!")
    assert snp_launch_digest(direct, 2) not in found


@pytest.mark.parametrize(
    "changes",
    [{"vcpus": 0}, {"vcpus": 513}, {"vcpu_type": "Pentium"}, {"command_line": "x"}],
    ids=lambda changes: next(iter(changes)),
)
def test_guests_that_cannot_be(guest, changes):
    from dataclasses import replace

    vcpus = changes.pop("vcpus", 2)
    with pytest.raises(UsageError):
        snp_launch_digest(replace(guest, **changes), vcpus)


def test_files_that_are_not_there_or_no_firmware(guest, tmp_path):
    from dataclasses import replace

    with pytest.raises(StorageError, match="absent"):
        snp_launch_digest(replace(guest, ovmf=tmp_path / "absent"), 2)
    for data in (b"", b"x", bytes(4096), b"x" * 8192):
        path = tmp_path / "junk"
        path.write_bytes(data)
        with pytest.raises(ContentError, match="not firmware for such a guest"):
            snp_launch_digest(replace(guest, ovmf=path), 2)
    # Without the description of its sections, a direct boot has nowhere to put its hashes.
    plain = firmware(tmp_path / "plain.fd", snp=False)
    with pytest.raises(ContentError):
        snp_launch_digest(replace(guest, ovmf=plain, kernel=plain), 2)


def test_a_package_that_is_missing_is_told_with_the_way_to_it(guest, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="sev-snp-measure") as caught:
        snp_launch_digest(guest, 2)
    assert caught.value.hint == "install it with: pip install 'haulout[measure]'"


def test_measurements_given():
    assert expected_measurement(GivenMeasurement("ab" * 48), config()) == b"\xab" * 48
    for how, tee in (
        (GivenMeasurement("ab" * 32), krun.Tee.SNP),
        (GivenMeasurement("zz" * 48), krun.Tee.TDX),
        (SnpGuest(Path("x")), krun.Tee.TDX),
        (KrunGuest(Path("x")), krun.Tee.TDX),
    ):
        with pytest.raises(UsageError):
            expected_measurement(how, config(tee=tee))
