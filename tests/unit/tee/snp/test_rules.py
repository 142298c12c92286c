"""What a policy demands of reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.evidence import BOOT, DATA, judge_snp, policy, rule_of, snp, snp_policy
from tests.support.snp_reports import judge

from haulout.emulator.snp import DEFAULT_POLICY, SnpState
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product, Tcb


def test_02_version_2_by_policy():
    assert rule_of(judge_snp(SnpState(version=2))) == "version-not-allowed"
    assert rule_of(judge_snp(SnpState(version=3), "versions = [5]")) == "version-not-allowed"


COMPONENTS = ["bootloader", "tee", "snp", "microcode"]


def test_09_vleks_of_listed_providers_only():
    assert rule_of(judge_snp(None, 'signers = ["vlek"]\ncsp-ids = ["CN=other"]', signer=Signer.VLEK)) == (
        "signer-not-allowed"
    )
    listed = 'signers = ["vlek"]\ncsp-ids = ["CN=cloud.haulout.example"]'
    assert rule_of(judge_snp(None, listed, signer=Signer.VLEK)) is None


@pytest.mark.parametrize(
    "expected",
    [
        bytes(64),
        DATA[:63] + b"\0",
        b"\0" + DATA[1:],
        DATA[:32] + bytes(32),
        DATA[32:] + DATA[:32],
        DATA[::-1],
    ],
)
def test_14_report_data_for_another_occasion(expected):
    assert rule_of(judge_snp(report_data=expected)) == "report-data"
    assert rule_of(judge_snp(report_data=DATA)) is None


@pytest.mark.parametrize("expected", [b"", DATA[:32], DATA[:63], DATA + b"\0"])
def test_14_report_data_of_another_length(expected):
    assert rule_of(judge_snp(report_data=expected)) == "report-data"


def test_14_no_report_data_where_the_policy_wants_some():
    asked = snp_policy(top="[freshness]\nreport-data-required = true\n")
    assert rule_of(judge_snp(policy=asked)) == "freshness"
    assert rule_of(judge_snp(policy=asked, report_data=DATA)) is None


MEASURED = BOOT.snp()


@pytest.mark.parametrize(
    "listed",
    [bytes(48), MEASURED[:-1] + bytes(1), bytes(1) + MEASURED[1:], MEASURED[:24] + bytes(24), MEASURED[::-1]],
    ids=["zeros", "last byte", "first byte", "prefix", "reversed"],
)
def test_16_another_measurement(listed):
    assert rule_of(judge_snp(None, f'measurements = ["{listed.hex()}"]')) == "measurement"
    both = f'measurements = ["{listed.hex()}", "{MEASURED.hex().upper()}"]'
    assert rule_of(judge_snp(None, both)) is None


def test_16_other_files_have_another_measurement():
    listed = f'measurements = ["{MEASURED.hex()}"]'
    for changed in (
        replace(BOOT, command_line="console=ttyS0 root=/dev/vdb"),
        replace(BOOT, files=BOOT.files[::-1]),
        replace(BOOT, files=(*BOOT.files[:2], BOOT.files[2][:-1] + b"!")),
        replace(BOOT, files=BOOT.files[:2]),
    ):
        data = snp().report(DATA, changed)
        assert rule_of(judge(data, listed)) == "measurement"


def test_17_debugging():
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 19))) == "debug"
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 19), "debug = true")) is None


def test_18_migration():
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 18))) == "migration"
    for agent in (bytes(32), bytes(31) + b"\x01", b"\xff" * 31 + b"\xfe"):
        assert rule_of(judge_snp(SnpState(report_id_ma=agent))) == "migration"
    both = SnpState(policy=DEFAULT_POLICY | 1 << 18, report_id_ma=b"\x05" * 32)
    assert rule_of(judge_snp(both, "migration = true")) is None


@pytest.mark.parametrize("bits", [0, 1 << 16, *(DEFAULT_POLICY | 1 << bit for bit in range(26, 64))])
def test_19_reserved_bits_of_the_guest_policy(bits):
    assert rule_of(judge_snp(SnpState(policy=bits))) == "guest-policy"


@pytest.mark.parametrize("bit", range(20, 26))
def test_19_bits_of_the_guest_policy_that_are_defined(bit):
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << bit))) is None


@pytest.mark.parametrize("vmpl", [1, 2, 3, 4, 0xFFFFFFFF])
def test_20_vmpl(vmpl):
    assert rule_of(judge_snp(SnpState(vmpl=vmpl))) == "vmpl"
    assert rule_of(judge_snp(SnpState(vmpl=vmpl), "vmpl = 3")) == (None if vmpl <= 3 else "vmpl")


FLOORS = ["bootloader = 5", "tee = 1", "snp = 25", "microcode = 220", "bootloader = 255\nmicrocode = 255"]


@pytest.mark.parametrize("floor", FLOORS)
def test_21_a_tcb_below_the_floor(floor):
    assert rule_of(judge_snp(None, f"[snp.tcb.Genoa]\n{floor}")) == "tcb-floor"


def test_21_a_floor_that_is_met_and_one_of_another_product():
    assert rule_of(judge_snp(None, "[snp.tcb.Genoa]\nbootloader = 4\nsnp = 24\nmicrocode = 219")) is None
    other = judge_snp(None, "[snp.tcb.Milan]\nbootloader = 9")
    assert other.accepted
    assert "tcb" in other.open
    assert rule_of(judge_snp(None, "[snp.tcb.Turin]\nfmc = 2", product=Product.TURIN)) == "tcb-floor"


@pytest.mark.parametrize("name", COMPONENTS)
def test_21_what_is_reported_committed_and_current_has_an_order(name):
    tcb = snp().tcb
    high, low = replace(tcb, **{name: 250}), replace(tcb, **{name: 0})
    if getattr(tcb, name):
        assert rule_of(judge_snp(SnpState(committed_tcb=low))) == "tcb-order"
        assert rule_of(judge_snp(SnpState(current_tcb=low))) == "tcb-order"
    assert rule_of(judge_snp(SnpState(committed_tcb=high))) == "tcb-order"
    assert rule_of(judge_snp(SnpState(committed_tcb=high, current_tcb=high))) is None


@pytest.mark.parametrize("member", ["committed_tcb", "launch_tcb"])
def test_21_the_floor_counts_for_what_is_committed_and_what_was_launched(member):
    low = Tcb(4, 0, 24, 100)
    changed: dict[str, Any] = {member: low}
    state = SnpState(**changed)
    rule = rule_of(judge_snp(state, "[snp.tcb.Genoa]\nmicrocode = 200"))
    assert rule == ("tcb-floor" if member == "launch_tcb" else "tcb-order")


def test_22_which_chip():
    assert rule_of(judge_snp(SnpState(chip_id=bytes(64)))) == "chip"
    listed = f'chip-ids = ["{snp().chip_id.hex()}"]'
    assert rule_of(judge_snp(None, listed)) is None
    assert rule_of(judge_snp(None, f'chip-ids = ["{bytes(64).hex()}"]')) == "chip-not-allowed"
    hidden = SnpState(chip_id=bytes(64))
    vlek = 'signers = ["vlek"]\n'
    assert rule_of(judge_snp(hidden, vlek, signer=Signer.VLEK)) is None
    assert rule_of(judge_snp(hidden, vlek + listed, signer=Signer.VLEK)) == "chip-not-allowed"
    # Turin's chips have 8 bytes, which a list may give as such.
    turin = snp(Product.TURIN).chip_id
    for text in (turin.hex(), turin[:8].hex()):
        assert rule_of(judge_snp(None, f'chip-ids = ["{text}"]', product=Product.TURIN)) is None


@pytest.mark.parametrize("host_data", [bytes(32), b"\x07" * 31 + b"\0", b"\0" + b"\x07" * 31])
def test_23_another_workload(host_data):
    listed = 'host-data = ["' + "07" * 32 + '"]'
    assert rule_of(judge_snp(SnpState(host_data=host_data), listed)) == "workload"
    assert rule_of(judge_snp(SnpState(host_data=b"\x07" * 32), listed)) is None


def test_24_guest_version_and_keys():
    assert rule_of(judge_snp(SnpState(guest_svn=1), "guest-svn = 2")) == "guest-svn"
    assert rule_of(judge_snp(SnpState(guest_svn=2), "guest-svn = 2")) is None
    wanted = "11" * 48
    assert rule_of(judge_snp(None, f'id-keys = ["{wanted}"]')) == "id-key"
    assert rule_of(judge_snp(SnpState(id_key_digest=b"\x11" * 48), f'id-keys = ["{wanted}"]')) is None
    table = f'author-keys = ["{wanted}"]'
    # A digest counts only where the report says that there is an author's key.
    assert rule_of(judge_snp(SnpState(author_key_digest=b"\x11" * 48), table)) == "author-key"
    assert rule_of(judge_snp(SnpState(key_info=1, author_key_digest=bytes(48)), table)) == "author-key"
    assert rule_of(judge_snp(SnpState(key_info=1, author_key_digest=b"\x11" * 48), table)) is None
    assert rule_of(judge_snp(None, 'family-ids = ["' + "22" * 16 + '"]')) == "guest-policy"
    assert rule_of(judge_snp(None, 'image-ids = ["' + "22" * 16 + '"]')) == "guest-policy"


def test_25_hyper_threading():
    for state in (SnpState(platform_info=0), SnpState(policy=1 << 17)):
        assert rule_of(judge_snp(state, "smt = false")) == "smt"
    assert rule_of(judge_snp(SnpState(platform_info=0, policy=1 << 17), "smt = false")) is None
    assert rule_of(judge_snp(None, "single-socket = true")) == "guest-policy"
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 20), "single-socket = true")) is None


PLATFORM = {"tsme": 1, "ecc": 2, "rapl-off": 3, "ciphertext-hiding": 4, "alias-check": 5, "tio": 7}


@pytest.mark.parametrize(("name", "bit"), PLATFORM.items())
def test_25_what_the_platform_has_to_have(name, bit):
    table = f'platform-required = ["{name}"]'
    assert rule_of(judge_snp(SnpState(platform_info=0xFF ^ 1 << bit), table)) == "platform-info"
    assert rule_of(judge_snp(SnpState(platform_info=1 << bit), table)) is None


def test_25_mitigations():
    table = "mitigations = 5"
    assert rule_of(judge_snp(SnpState(mitigations=4), table)) == "mitigation"
    assert rule_of(judge_snp(SnpState(mitigations=7), table)) is None
    # Reports before version 5 do not tell.
    assert rule_of(judge_snp(SnpState(version=3, mitigations=7), table)) == "mitigation"


def test_a_product_that_the_policy_does_not_list():
    assert rule_of(judge_snp(None, 'products = ["Turin", "Milan"]')) == "product-not-allowed"


def test_a_policy_without_a_table_for_it():
    asked = policy("[tdx]", roots=(snp().ark.fingerprint(),))
    assert rule_of(judge_snp(policy=asked)) == "tee"
