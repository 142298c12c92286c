"""Emulated TDX quotes, their collateral, and verdicts on them."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from tests.support.evidence import AT, BOOT, DATA, given, policy, tdx

from haulout.emulator.tdx import certify, default_info
from haulout.tee import verify


def judge(state=None, table="", *, platform=None, data=None, collateral=None, **more: Any):
    platform = platform or tdx()
    data = platform.quote(DATA, BOOT, state) if data is None else data
    files = platform.collateral(AT) if collateral is None else collateral
    asked = policy(f"[tdx]\n{table}", roots=(platform.root.fingerprint(),))
    return verify(data, **{"at": AT, "collateral": given(files), "policy": asked, **more})


def collateral(**more):
    return tdx().collateral(AT, **more)


def levels(*entries):
    """TCB levels: SGX components, PCE, TDX components, status."""
    made = default_info(AT)["tcbLevels"][0]
    return [
        made
        | {
            "tcb": {
                "sgxtcbcomponents": [{"svn": svn} for svn in sgx],
                "pcesvn": pce,
                "tdxtcbcomponents": [{"svn": svn} for svn in module],
            },
            "tcbStatus": status,
            "advisoryIDs": ["INTEL-SA-00001"],
        }
        for sgx, pce, module, status in entries
    ]


def at(offset, form, value):
    return lambda data: struct.pack_into(form, data, offset, value)


def certified(**more):
    return replace(tdx(), pck=certify(tdx().authority, AT, **more))
