"""What a policy demands of tokens."""

from __future__ import annotations

import pytest
from tests.support.cca_tokens import judge
from tests.support.evidence import BOOT, DATA, cca, rule_of

from haulout.emulator.cca import CcaState
from haulout.tee.cca import parse as token
from haulout.tee.cca.parse import EMULATED

LIFECYCLES = [0x0000, 0x00FF, 0x1000, 0x2000, 0x2FFF, 0x3100, 0x4000, 0x40FF, 0x5000, 0x6000, 0x7000, 0xFFFF]


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_42_platforms_that_are_not_secured(lifecycle):
    assert rule_of(judge(CcaState(platform={token.LIFECYCLE: lifecycle}))) == "lifecycle"


@pytest.mark.parametrize("lifecycle", [0x3000, 0x3001, 0x30FF])
def test_42_platforms_that_are_secured(lifecycle):
    assert rule_of(judge(CcaState(platform={token.LIFECYCLE: lifecycle}))) is None


def test_42_platforms_that_the_policy_does_not_list():
    assert rule_of(judge(None, f'instances = ["01{"00" * 32}"]')) == "instance"
    assert rule_of(judge(None, f'instances = ["{cca().instance.hex()}"]')) is None
    assert rule_of(judge(None, f'implementations = ["{"00" * 32}"]')) == "implementation"
    assert rule_of(judge(None, f'implementations = ["{EMULATED.hex()}"]')) is None


@pytest.mark.parametrize("name", ["rim", "rem0", "rem1", "rem2", "rem3"])
def test_16_another_measurement(name):
    right = BOOT.rim() if name == "rim" else bytes(64)
    assert rule_of(judge(None, f'{name} = ["{right.hex()}"]')) is None
    for wrong in (right[:63] + b"\x99", right[:32], b"\x99" + right[1:]):
        assert rule_of(judge(None, f'{name} = ["{wrong.hex()}"]')) == "measurement"


def test_23_another_workload():
    table = f'personalization = ["{"07" * 64}"]'
    assert rule_of(judge(None, table)) == "workload"
    assert rule_of(judge(CcaState(personalization=b"\x07" * 64), table)) is None


@pytest.mark.parametrize("expected", [bytes(64), DATA[:32] + bytes(32), DATA[:32]])
def test_14_the_challenge(expected):
    assert rule_of(judge(report_data=expected)) == "report-data"
