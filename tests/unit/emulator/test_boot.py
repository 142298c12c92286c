"""What is booted, and its measurements."""

from __future__ import annotations

import hashlib

import pytest

from haulout.emulator import Boot
from haulout.workload import LaunchDigest, PageType


def test_the_launch_digest_is_that_of_sev_snp_measure():
    gctx = pytest.importorskip("sevsnpmeasure.gctx", reason="sev-snp-measure is not installed")
    theirs, ours = gctx.GCTX(), LaunchDigest()
    assert theirs.ld() == ours.value
    pages = bytes(range(256)) * 16, b"x" * 4096
    theirs.update_normal_pages(0xFFFF0000, b"".join(pages))
    for number, page in enumerate(pages):
        ours.add(PageType.NORMAL, 0xFFFF0000 + 4096 * number, page)
    assert theirs.ld() == ours.value
    for kind, update in (
        (PageType.ZERO, lambda: theirs.update_zero_pages(0x8000, 4096)),
        (PageType.UNMEASURED, lambda: theirs.update_unmeasured_pages(0x9000, 4096)),
        (PageType.SECRETS, lambda: theirs.update_secrets_page(0x5000)),
        (PageType.CPUID, lambda: theirs.update_cpuid_page(0x6000)),
    ):
        address = {3: 0x8000, 4: 0x9000, 5: 0x5000, 6: 0x6000}[kind]
        update()
        ours.add(kind, address)
        assert theirs.ld() == ours.value
    theirs.update_vmsa_page(pages[1])
    ours.add(PageType.VMSA, gctx.GCTX.VMSA_GPA, pages[1])
    assert theirs.ld() == ours.value


@pytest.mark.parametrize(
    ("kind", "page"), [(PageType.NORMAL, None), (PageType.ZERO, bytes(4096)), (PageType.VMSA, bytes(4095))]
)
def test_pages_and_contents_that_do_not_go_together(kind, page):
    with pytest.raises(ValueError, match="do not go together"):
        LaunchDigest().add(kind, 0, page)


def test_registers_are_extended_as_intel_says():
    first, second, third, fourth = Boot((b"a", b"b"), "c").rtmr()
    step = hashlib.sha384(bytes(48) + hashlib.sha384(b"a").digest()).digest()
    assert first == hashlib.sha384(step + hashlib.sha384(b"b").digest()).digest()
    assert second == hashlib.sha384(bytes(48) + hashlib.sha384(b"c").digest()).digest()
    assert third == fourth == bytes(48)


def test_every_page_of_a_td_is_added_and_extended():
    """The command line is a page of its own, behind the files."""
    running = hashlib.sha384()
    running.update(b"MEM.PAGE.ADD".ljust(16, b"\0") + (0x100000).to_bytes(8, "little") + bytes(104))
    page = b"x\0".ljust(4096, b"\0")
    for offset in range(0, 4096, 256):
        running.update(b"MR.EXTEND".ljust(16, b"\0") + (0x100000 + offset).to_bytes(8, "little") + bytes(104))
        running.update(page[offset : offset + 256])
    assert Boot((), "x").mrtd() == running.digest()
