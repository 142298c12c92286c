"""The state of the platform, the module and the quoting enclave."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, rule_of, tdx
from tests.support.tdx_quotes import collateral, judge, levels

from haulout.emulator.tdx import COMPONENTS, QE_ATTRIBUTES, TEE_TCB_SVN, TdxState, default_identity
from haulout.tee import verify
from haulout.tee.tdx.documents import TcbStatus
from haulout.tee.tdx.tcb import worse


@pytest.mark.parametrize("bit", range(64))
def test_38_attributes_of_the_enclave(bit):
    """The mask leaves open the third bit of the first half, and all of the second half."""
    attributes = bytearray(QE_ATTRIBUTES)
    attributes[bit // 8] ^= 1 << bit % 8
    rule = rule_of(judge(TdxState(qe_attributes=bytes(attributes))))
    assert rule == (None if bit == 2 else "qe-identity")


OLD = (COMPONENTS, 13, (5, 0, 4) + (0,) * 13)


@pytest.mark.parametrize("status", [one for one in TcbStatus if one is not TcbStatus.UP_TO_DATE])
def test_39_a_platform_that_is_not_up_to_date(status):
    old = collateral(info={"tcbLevels": levels((*OLD, status))})
    rule = rule_of(judge(collateral=old))
    assert rule == ("tcb-revoked" if status is TcbStatus.REVOKED else "tcb-status")
    if status is not TcbStatus.REVOKED:
        verdict = judge(None, f'tcb-statuses = ["UpToDate", "{status}"]', collateral=old)
        assert verdict.accepted, verdict.refusal
        assert verdict.claims.tcb.advisories == ("INTEL-SA-00001",)
    assert rule_of(verify(tdx().quote(DATA, BOOT), at=AT, collateral=given(old))) == "test-root"


@pytest.mark.parametrize("place", range(16))
def test_39_every_component_has_to_reach_its_level(place):
    sgx = list(COMPONENTS)
    sgx[place] += 1
    newer = levels((sgx, 13, (0,) * 16, "UpToDate"))
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": newer}))) == "tcb-level"
    fallback = [*newer, *levels((*OLD, "OutOfDate"))]
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": fallback}))) == "tcb-status"
    module = list(TEE_TCB_SVN)
    module[place] += 1
    newer = levels((COMPONENTS, 13, module, "UpToDate"))
    # From the second TDX module on, its own version is judged by its own levels.
    rule = rule_of(judge(collateral=collateral(info={"tcbLevels": newer})))
    assert rule == (None if place < 2 else "tcb-level")


def test_39_the_pce_has_to_reach_its_level():
    newer = levels((COMPONENTS, 14, (0,) * 16, "UpToDate"))
    assert rule_of(judge(collateral=collateral(info={"tcbLevels": newer}))) == "tcb-level"


def test_39_the_first_tdx_module_is_judged_by_the_platforms_components():
    first = TdxState(tee_tcb_svn=bytes((4, 0, 4)) + bytes(13))
    assert rule_of(judge(first)) == "tcb-status"
    assert rule_of(judge(replace(first, tee_tcb_svn=bytes((5, 0, 4)) + bytes(13)))) is None


@pytest.mark.parametrize(
    ("svn", "rule"), [((6, 1, 4), None), ((7, 1, 4), None), ((5, 1, 4), "tcb-status"), ((1, 1, 4), "tcb-level")]
)
def test_39_later_tdx_modules_are_judged_by_their_own_levels(svn, rule):
    assert rule_of(judge(TdxState(tee_tcb_svn=bytes(svn) + bytes(13)))) == rule


def test_39_tdx_modules_that_are_not_intels():
    assert rule_of(judge(TdxState(tee_tcb_svn=bytes((6, 9, 4)) + bytes(13)))) == "tdx-module"
    assert rule_of(judge(TdxState(mrsignerseam=b"\x01" * 48))) == "tdx-module"
    assert rule_of(judge(TdxState(seam_attributes=b"\x01" + bytes(7)))) == "tdx-module"
    assert rule_of(judge(None, f'modules = ["{"00" * 48}"]')) == "tdx-module"


def test_39_an_old_quoting_enclave():
    assert rule_of(judge(TdxState(qe_svn=3))) == "tcb-status"
    revoked = default_identity(AT)["tcbLevels"]
    revoked[0]["tcbStatus"] = "Revoked"
    assert rule_of(judge(collateral=collateral(identity={"tcbLevels": revoked}))) == "tcb-revoked"


@pytest.mark.parametrize("platform", TcbStatus)
@pytest.mark.parametrize("part", TcbStatus)
def test_the_worst_part_makes_the_status(platform, part):
    joined = worse(platform, part)
    if "Revoked" in {platform, part}:
        assert joined == "Revoked"
    elif part is TcbStatus.UP_TO_DATE:
        assert joined == platform
    else:
        assert joined.startswith("OutOfDate")
        assert joined.endswith("ConfigurationNeeded") is ("Configuration" in platform)


@pytest.mark.parametrize("status", [one for one in TcbStatus if one is not TcbStatus.REVOKED])
@pytest.mark.parametrize("svn", [(6, 1, 4), (5, 1, 4)])
@pytest.mark.parametrize("qe", [6, 3])
def test_an_independent_verifier_computes_the_same_status(status, svn, qe):
    dcap_qvl = pytest.importorskip("dcap_qvl", minversion="0.3.9", reason="dcap-qvl is not installed, or too old")
    from cryptography.hazmat.primitives.serialization import Encoding

    files = collateral(info={"tcbLevels": levels((COMPONENTS, 13, (0,) * 16, status))})
    data = tdx().quote(DATA, BOOT, TdxState(tee_tcb_svn=bytes(svn) + bytes(13), qe_svn=qe))
    root = tdx().root.certificate.public_bytes(Encoding.DER)
    theirs = dcap_qvl.verify_with_root_ca(
        data, dcap_qvl.QuoteCollateralV3.from_json(files.decode()), root, int(AT.timestamp())
    )
    every = ", ".join(f'"{one}"' for one in TcbStatus if one is not TcbStatus.REVOKED)
    verdict = judge(data=data, collateral=files, table=f"tcb-statuses = [{every}]")
    assert verdict.accepted, verdict.refusal
    assert str(verdict.claims.tcb.status) == theirs.status
