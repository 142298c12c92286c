"""Lists of revoked certificates."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from tests.support.evidence import AT

from haulout.emulator import TdxEmulator
from haulout.errors import InvalidEvidence
from haulout.tee.revocation import read_revocation_list
from haulout.tee.verdict import Refused


def test_the_signature_of_a_revocation_list_has_one_spelling():
    """One bit less of a signature that ends with a zero is the same number, and cryptography takes it."""
    seen = 0
    for _ in range(40):
        whole = json.loads(TdxEmulator.make(AT).collateral(AT))
        listed = bytes.fromhex(whole["root_ca_crl"])
        size = len(x509.load_der_x509_crl(listed).signature)
        other = bytearray(listed)
        other[-size - 1] = 1
        with pytest.raises((Refused, InvalidEvidence)) as caught:
            read_revocation_list(bytes(other), "list")
        seen += isinstance(caught.value, Refused)
        if seen:
            return
    raise AssertionError("no signature in 40 ended with a zero")
