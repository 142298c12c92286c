"""Emulated CCA tokens, their parts, and verdicts on them."""

from __future__ import annotations

from typing import Any

import cbor2
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given

from haulout.tee import verify
from haulout.tee.cca import parse as token


def judge(state=None, table="", *, data=None, certificates=None, made: Any = None, **more: Any):
    data = cca().token(DATA, BOOT, state, **(made or {})) if data is None else data
    files = cca().certificates() if certificates is None else certificates
    asked: dict[str, Any] = {"at": AT, "certificates": given(files), "policy": cca_policy(table)} | more
    return verify(data, **asked)


def parts(data=None):
    return dict(cbor2.loads(cca().token(DATA, BOOT) if data is None else data).value)


def joined(values):
    return cbor2.dumps(cbor2.CBORTag(token.TOKEN, values))


def with_signed(which, change):
    """Return a token in which one COSE_Sign1 has its four parts changed."""
    values = parts()
    signed = cbor2.loads(values[which])
    values[which] = cbor2.dumps(cbor2.CBORTag(signed.tag, change(list(signed.value))))
    return joined(values)
