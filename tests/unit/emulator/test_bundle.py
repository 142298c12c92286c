"""Bundles: accepted by their own policy, and by no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.emulation import MADE, judge
from tests.support.evidence import AT, BOOT, DATA, rule_of

from haulout.emulator import PLATFORMS, Boot, make_bundle


def play(kind, boot=BOOT, **more):
    return make_bundle(MADE[kind](), boot, AT, report_data=DATA, **more)


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
