"""What a policy demands of quotes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.evidence import BOOT, DATA, rule_of
from tests.support.tdx_quotes import judge

from haulout.emulator.tdx import SEPT_VE_DISABLE, TdxState
from haulout.tee.tdx import parse as quote


def test_37_debugging():
    state = TdxState(td_attributes=SEPT_VE_DISABLE | 1)
    assert rule_of(judge(state)) == "debug"
    assert rule_of(judge(state, "debug = true")) is None


KNOWN_BITS = {0, 27, 28, 29, 30, 31, 63}


@pytest.mark.parametrize("bit", [bit for bit in range(64) if bit not in KNOWN_BITS])
def test_37_reserved_attributes(bit):
    assert rule_of(judge(TdxState(td_attributes=SEPT_VE_DISABLE | 1 << bit))) == "td-attributes"


def test_37_other_attributes():
    assert rule_of(judge(TdxState(td_attributes=0))) == "td-attributes"
    assert rule_of(judge(TdxState(td_attributes=0), "sept-ve-disable = false")) is None
    movable = TdxState(td_attributes=SEPT_VE_DISABLE | 1 << 29)
    assert rule_of(judge(movable)) == "migration"
    assert rule_of(judge(movable, "migration = true")) is None
    for xfam in (0, 1, 2, 0x602E4):
        assert rule_of(judge(TdxState(xfam=xfam))) == "xfam"


@pytest.mark.parametrize("name", ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"])
def test_16_another_measurement(name):
    right = {"mrtd": BOOT.mrtd()} | {f"rtmr{number}": value for number, value in enumerate(BOOT.rtmr())}
    assert rule_of(judge(None, f'{name} = ["{right[name].hex()}"]')) is None
    for wrong in (right[name][:47] + b"\x99", b"\x99" + right[name][1:], right[name][:24] + b"\x99" * 24):
        assert rule_of(judge(None, f'{name} = ["{wrong.hex()}"]')) == "measurement"


@pytest.mark.parametrize(
    ("name", "rule"),
    [("mrconfigid", "workload"), ("mrowner", "owner"), ("mrownerconfig", "owner"), ("mrservicetd", "owner")],
)
def test_23_another_workload_or_owner(name, rule):
    table = f'{"service-td" if name == "mrservicetd" else name} = ["{"07" * 48}"]'
    both: dict[str, Any] = {"version": 5, "body": quote.TYPE_TD15}
    assert rule_of(judge(TdxState(**both), table)) == rule
    assert rule_of(judge(TdxState(**both | {name: b"\x07" * 48}), table)) is None
    if name == "mrservicetd":
        assert rule_of(judge(TdxState(mrservicetd=b"\x07" * 48), table)) == rule


@pytest.mark.parametrize("expected", [bytes(64), DATA[:32] + bytes(32), DATA[:63]])
def test_14_report_data(expected):
    assert rule_of(judge(report_data=expected)) == "report-data"
