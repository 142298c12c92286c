"""Every bit counts: evidence and certificates with one bit changed are refused, or say the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, given, snp, snp_policy, tdx, tdx_policy, vector

from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.certificates import read_bundle
from haulout.tee.tdx import parse as quote
from haulout.tee.tdx.collateral import parse as parse_collateral


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(data: bytes, **more: Any) -> bool:
    """Say whether it is refused; what cannot be read is refused, too."""
    try:
        return not verify(data, **more).accepted
    except InvalidEvidence:
        return True


def test_every_bit_of_a_report():
    data = snp().report(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "certificates": given(snp().certificates()), "policy": snp_policy()}
    assert verify(data, **more).accepted
    assert [bit for bit in range(8 * len(data)) if not refused(flipped(data, bit), **more)] == []


@pytest.mark.parametrize("name", ["milan-v3", "milan-v2-tcb"])
def test_bits_of_real_reports(name):
    leaf = vector(f"snp/{name}.vcek.{'pem' if name == 'milan-v3' else 'der'}")
    data = vector(f"snp/{name}.report.bin")
    files = given(leaf, vector("snp/milan.ask.pem"), vector("snp/milan.ark.pem"))
    more: dict[str, Any] = {"at": datetime(2026, 11, 25, tzinfo=UTC), "certificates": files}
    assert verify(data, **more).accepted
    assert [bit for bit in range(0, 8 * len(data), 13) if not refused(flipped(data, bit), **more)] == []


def said(data):
    """Return what a quote says, its certificates by their content."""
    found = quote.parse(data)
    chain = tuple(one.fingerprint for one in read_bundle(found.pck_chain, "chain"))
    return (found.signed, found.signature, found.attestation_key, found.qe_signed, found.qe_signature, chain)


def test_bits_of_a_quote():
    """White space between its certificates may change: nothing else of what it says."""
    data = tdx().quote(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "collateral": given(tdx().collateral(AT)), "policy": tdx_policy()}
    assert verify(data, **more).accepted
    accepted = [bit for bit in range(0, 8 * len(data), 7) if not refused(flipped(data, bit), **more)]
    assert [(bit, data[bit // 8 :][:1]) for bit in accepted if said(flipped(data, bit)) != said(data)] == []
    begin = data.index(b"-----BEGIN")
    assert [bit for bit in accepted if bit // 8 < begin] == []
    assert len(accepted) < 40


def test_bits_of_a_token():
    data = cca().token(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "certificates": given(cca().certificates()), "policy": cca_policy()}
    assert verify(data, **more).accepted
    assert [bit for bit in range(0, 8 * len(data), 5) if not refused(flipped(data, bit), **more)] == []


def test_bits_of_the_certificate_of_a_signing_key():
    leaf = snp().vcek.certificate.public_bytes(serialization.Encoding.DER)
    data, above = snp().report(DATA, BOOT), snp().ask.pem() + snp().ark.pem()
    more: dict[str, Any] = {"at": AT, "policy": snp_policy()}
    assert verify(data, certificates=given(leaf, above), **more).accepted
    for bit in range(0, 8 * len(leaf), 7):
        assert refused(data, certificates=given(flipped(leaf, bit), above), **more), bit


def known(data):
    """Return what collateral says, certificates by their content; the chain of the PCK's list is in the quote as well."""
    found = parse_collateral(data, "collateral")
    return (
        found.tcb_info_part.content,
        found.tcb_info_part.signature,
        [one.fingerprint for one in found.tcb_info_part.given],
        found.qe_identity_part.content,
        found.qe_identity_part.signature,
        [one.fingerprint for one in found.qe_identity_part.given],
        found.root_list.der,
        found.pck_list.der,
    )


def test_bits_of_collateral():
    """White space, and the case of hexadecimal digits, may change: nothing of what it says."""
    data, whole = tdx().quote(DATA, BOOT), tdx().collateral(AT)
    more: dict[str, Any] = {"at": AT, "policy": tdx_policy()}
    assert verify(data, collateral=given(whole), **more).accepted
    accepted = [
        bit for bit in range(0, 8 * len(whole), 29) if not refused(data, collateral=given(flipped(whole, bit)), **more)
    ]
    assert [bit for bit in accepted if known(flipped(whole, bit)) != known(whole)] == []
    assert len(accepted) < 8 * len(whole) // 29 // 3
