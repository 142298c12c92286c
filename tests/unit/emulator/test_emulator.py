"""The emulator: real layouts, evidence that follows what is booted, and keys that stay."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.evidence import AT, BOOT, DATA, cca, given, rule_of, snp, tdx

from haulout.emulator import PLATFORMS, Boot, make_bundle, store
from haulout.errors import ContentError, StorageError
from haulout.tee import KINDS, parse_policy, verify
from haulout.workload import LaunchDigest, PageType

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.emulator import Platform

MADE: dict[str, Callable[[], Platform]] = {"snp": snp, "tdx": tdx, "cca": cca}


def judge(kind, made, *, policy=None, at=AT, report_data=None):
    asked = parse_policy(made.files["policy.toml"] if policy is None else policy)
    certificates = given(made.files["certificates.pem"]) if "certificates.pem" in made.files else []
    collateral = given(made.files["collateral.json"]) if "collateral.json" in made.files else []
    return verify(
        made.files["evidence.bin"],
        at=at,
        certificates=certificates,
        collateral=collateral,
        policy=asked,
        report_data=report_data,
    )


def play(kind, boot=BOOT, **more):
    return make_bundle(MADE[kind](), boot, AT, report_data=DATA, **more)


def test_every_kind_has_its_emulator_under_its_name():
    assert set(PLATFORMS) == {kind.name for kind in KINDS} == set(MADE)


@pytest.mark.parametrize("kind", MADE)
def test_a_bundle_is_accepted_by_its_own_policy_and_by_no_production_policy(kind):
    made = play(kind)
    assert judge(kind, made, report_data=DATA).accepted
    production = b"\n".join(
        line for line in made.files["policy.toml"].split(b"\n") if not line.startswith((b"test", b"roots"))
    )
    assert rule_of(judge(kind, made, policy=production)) == "test-root"


CHANGES = {
    "a byte of the firmware": replace(BOOT, files=(b"F" + BOOT.files[0][1:], *BOOT.files[1:])),
    "the last byte of the initrd": replace(BOOT, files=(*BOOT.files[:2], BOOT.files[2][:-1] + b"!")),
    "a byte more": replace(BOOT, files=(*BOOT.files[:2], BOOT.files[2] + b"!")),
    "no initrd": replace(BOOT, files=BOOT.files[:2]),
    "another order": replace(BOOT, files=BOOT.files[::-1]),
    "another command line": replace(BOOT, command_line="console=ttyS0 root=/dev/vda init=/bin/sh"),
    "nothing": Boot(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", MADE)
def test_whatever_else_is_booted_is_refused(kind, change):
    asked = play(kind).files["policy.toml"]
    assert rule_of(judge(kind, play(kind, CHANGES[change]), policy=asked)) == "measurement"


@pytest.mark.parametrize("kind", MADE)
def test_the_workload_is_bound(kind):
    size = PLATFORMS[kind].binding
    asked = play(kind, workload=b"\x01" * size).files["policy.toml"]
    assert judge(kind, play(kind, workload=b"\x01" * size), policy=asked).accepted
    assert rule_of(judge(kind, play(kind, workload=b"\x02" * size), policy=asked)) == "workload"
    assert rule_of(judge(kind, play(kind), policy=asked)) == "workload"


@pytest.mark.parametrize("kind", MADE)
def test_other_report_data_is_another_occasion(kind):
    assert rule_of(judge(kind, play(kind), report_data=bytes(64))) == "report-data"


@pytest.mark.parametrize("kind", MADE)
def test_another_platform_of_the_same_kind_is_not_trusted(kind):
    asked = play(kind).files["policy.toml"]
    other = PLATFORMS[kind].make(AT)
    assert rule_of(judge(kind, make_bundle(other, BOOT, AT, report_data=DATA), policy=asked)) == "test-root"


@pytest.mark.parametrize("kind", MADE)
def test_a_platform_keeps_its_keys(kind, tmp_path):
    folder = tmp_path / "lab" / "one"
    first = store.open_or_make(folder, kind, AT)
    again = store.open_or_make(folder, kind, AT + timedelta(days=400))
    assert store.dump(first) == store.dump(again)
    assert stat.S_IMODE((folder / store.STATE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [store.STATE]
    made = make_bundle(first, BOOT, AT, report_data=DATA)
    assert judge(kind, make_bundle(again, BOOT, AT, report_data=DATA), policy=made.files["policy.toml"]).accepted


def test_a_folder_keeps_one_platform(tmp_path):
    store.keep(tmp_path, store.STATE, store.dump(snp()), private=True)
    assert store.dump(store.open_or_make(tmp_path, "snp", AT)) == store.dump(snp())
    with pytest.raises(ContentError, match="keeps an emulator of snp") as caught:
        store.open_or_make(tmp_path, "tdx", AT)
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: "[]",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"kind": "cca"', '"kind": "sgx"'),
        lambda text: text.replace("BEGIN PRIVATE", "BEGIN PUBLIC"),
        lambda text: text.replace("MIG", "MII"),
        lambda text: json.dumps(json.loads(text) | {"instance": "zz"}),
        lambda text: json.dumps(json.loads(text) | {"root": None}),
        lambda text: json.dumps(json.loads(text) | {"root": {"key": 1, "certificate": 2}}),
    ],
)
def test_what_does_not_keep_an_emulator(change, tmp_path):
    text = store.dump(cca()).decode()
    (tmp_path / store.STATE).write_text(change(text))
    with pytest.raises(ContentError) as caught:
        store.open_or_make(tmp_path, "cca", AT)
    assert "BEGIN" not in str(caught.value)
    assert (tmp_path / store.STATE).read_text() == change(text)


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        store.open_or_make(tmp_path / "file", "cca", AT)
    with pytest.raises(StorageError):
        store.keep(tmp_path / "file", "x", b"")


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
