"""Policies for the evidence of one workload."""

from __future__ import annotations

import json

import pytest
from tests.support.bindings import BINDING
from tests.support.evidence import AT, BOOT, DATA, cca, snp, tdx
from tests.support.evidence import given as certificates

from haulout.emulator import make_bundle
from haulout.errors import UsageError
from haulout.tee import parse_policy, verify
from haulout.workload import krun, policy
from haulout.workload.binding import Binding
from haulout.workload.build.registration import Registration


def test_registering_allows_neither_debugging_nor_migration():
    values = json.loads(Registration.of("web", krun.Tee.SNP, b"\1" * 48, b"pass").to_bytes())
    assert list(values) == ["workload_id", "launch_measurement", "passphrase", "tee_config"]
    bits = json.loads(values["tee_config"])["flags"]["bits"]
    assert bits == 0b0011
    assert not bits & 0b1100, "MIGRATE_MA and DEBUG"
    sev = json.loads(Registration.of("web", krun.Tee.SEV, b"\1" * 32, b"pass", es=False).to_bytes())
    assert json.loads(sev["tee_config"])["flags"]["bits"] == 59


@pytest.mark.parametrize(
    ("tee", "platform", "value"),
    [(krun.Tee.SNP, snp, "host_data"), (krun.Tee.TDX, tdx, "mrconfigid"), (krun.Tee.CCA, cca, "personalization")],
    ids=["snp", "tdx", "cca"],
)
def test_the_policy_accepts_evidence_of_this_workload_and_of_no_other(tee, platform, value):
    emulator = platform()
    other = Binding("other", BINDING.luks_header, BINDING.root, BINDING.salt, BINDING.hash_offset)
    verdicts = []
    for binding in (BINDING, other):
        made = make_bundle(emulator, BOOT, AT, report_data=DATA, workload=getattr(binding, value))
        marked = f'schema = 1\ntest = true\nroots = ["{emulator.root.fingerprint()}"]\n'
        text = policy.policy_for(BINDING, tee, None).replace("schema = 1\n", marked)
        judged = verify(
            made.files["evidence.bin"],
            at=AT,
            certificates=certificates(made.files["certificates.pem"]) if "certificates.pem" in made.files else [],
            collateral=certificates(made.files["collateral.json"]) if "collateral.json" in made.files else [],
            policy=parse_policy(text.encode(), "policy"),
            report_data=DATA,
        )
        verdicts.append("accepted" if judged.refusal is None else str(judged.refusal.rule))
    assert verdicts == ["accepted", "workload"], verdicts


def test_sev_has_no_evidence_to_write_a_policy_for():
    with pytest.raises(UsageError, match="names no workload"):
        policy.policy_for(BINDING, krun.Tee.SEV, None)
