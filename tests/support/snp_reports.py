"""Emulated SNP reports and verdicts on them."""

from __future__ import annotations

from typing import Any

from tests.support.evidence import AT, BOOT, DATA, given, snp, snp_policy

from haulout.tee import verify
from haulout.tee.snp.endorsement import Signer


def report(state=None, signer=Signer.VCEK):
    return snp().report(DATA, BOOT, state, signer=signer)


def judge(data, table="", certificates=None, **more: Any):
    asked: dict[str, Any] = {"at": AT, "policy": snp_policy(table)} | more
    chain = snp().certificates() if certificates is None else certificates
    return verify(data, certificates=given(chain), **asked)
