"""What the certificate of a platform says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.evidence import AT, rule_of, tdx
from tests.support.tdx_quotes import certified, judge

from haulout.emulator import authorities, der
from haulout.emulator.tdx import FMSPC, platform_extension
from haulout.tee.der import parse as parse_der
from haulout.tee.tdx import pck


def pairs(**changed):
    """The extension of a platform, with a part replaced or left out."""
    parts = []
    for pair in parse_der(platform_extension()).parts():
        name, value = list(pair.parts())
        content = changed.get(name.name().rpartition(".")[2], der.value(value.tag, value.content))
        if content is not None:
            parts.append(der.sequence(der.name(name.name()), content))
    return der.sequence(*parts)


EXTENSIONS = {
    "empty": b"",
    "no sequence": der.integer(1),
    "an empty sequence": der.sequence(),
    "longer": platform_extension() + b"\0",
    "cut short": platform_extension()[:-1],
    "a part without a value": der.sequence(der.sequence(der.name(pck.FMSPC))),
    "a part of three": der.sequence(der.sequence(der.name(pck.FMSPC), der.octets(FMSPC), der.octets(FMSPC))),
    "a name that is none": der.sequence(der.sequence(der.octets(FMSPC), der.octets(FMSPC))),
    "no TCB": pairs(**{"2": None}),
    "no PCEID": pairs(**{"3": None}),
    "no FMSPC": pairs(**{"4": None}),
    "an FMSPC of 5 bytes": pairs(**{"4": der.octets(bytes(5))}),
    "an FMSPC that is a number": pairs(**{"4": der.integer(4)}),
    "a PCEID of 3 bytes": pairs(**{"3": der.octets(bytes(3))}),
    "a TCB that is a number": pairs(**{"2": der.integer(3)}),
    "an empty TCB": pairs(**{"2": der.sequence()}),
    "a component of two bytes": pairs(**{"2": der.sequence(der.sequence(der.name(f"{pck.TCB}.1"), der.integer(300)))}),
    "a part twice": der.sequence(
        der.sequence(der.name(pck.FMSPC), der.octets(FMSPC)), der.sequence(der.name(pck.FMSPC), der.octets(FMSPC))
    ),
}


@pytest.mark.parametrize("case", EXTENSIONS)
def test_a_platform_that_is_not_described(case):
    assert rule_of(judge(platform=certified(extension=EXTENSIONS[case]))) == "certificate-extension"


def test_a_platform_that_is_not_described_at_all():
    plain = authorities.issue("Intel SGX PCK Certificate", authorities.p256_key(), AT, issuer=tdx().authority)
    assert rule_of(judge(platform=replace(tdx(), pck=plain))) == "certificate-extension"
