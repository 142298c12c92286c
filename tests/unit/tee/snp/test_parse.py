"""Reports as bytes: lengths, versions, reserved fields. The numbers in names are those of docs/evidence.md."""

from __future__ import annotations

import pytest
from tests.support.evidence import judge_snp, rule_of
from tests.support.snp_reports import judge, report

from haulout.emulator.snp import SnpState
from haulout.errors import InvalidEvidence


@pytest.mark.parametrize("length", [4, 5, 47, 48, 671, 672, 1183, 1185, 1184 * 2])
def test_01_another_length(length):
    whole = report() * 2
    with pytest.raises(InvalidEvidence, match="1184"):
        judge(whole[:length])


def test_01_next_to_nothing():
    for few in (1, 2, 3):
        with pytest.raises(InvalidEvidence, match="its format is not known"):
            judge(report()[:few])
    with pytest.raises(InvalidEvidence, match="empty"):
        judge(b"")


@pytest.mark.parametrize("version", [0, 1, 6, 7, 255, 1 << 31])
def test_02_versions_that_are_not_known(version):
    assert rule_of(judge_snp(SnpState(version=version))) == "format-version"


@pytest.mark.parametrize("cpuid", [(0x19, 0x10, 0), (0x19, 0x1F, 2), (0x19, 0xA0, 0), (0x19, 0xAF, 9)])
def test_12_models_of_genoa(cpuid):
    assert rule_of(judge_snp(SnpState(cpuid=cpuid))) is None
