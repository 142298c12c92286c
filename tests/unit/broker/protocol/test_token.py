"""Tokens: only those that this broker signed, for itself and not long ago, are believed."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from haulout.broker.protocol import InvalidMessage, PrivateKey, SigningKey, Token, verify_token

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
URL = "https://broker.example.com"
KEY = SigningKey.generate()
TOKEN = Token("session 1", URL, "snp", PrivateKey.generate().public.jwk, "bm9uY2U=", AT, {"measurement": "00"}, "web/1")
CLAIMS = TOKEN.to_claims()


def refused(text, *, keys=(KEY,), issuer=URL, at=AT):
    with pytest.raises(InvalidMessage):
        verify_token(text, keys, issuer, at)
    return True


def test_a_token_names_its_session():
    assert verify_token(KEY.sign(CLAIMS), [SigningKey.generate(), KEY], URL, AT) == "session 1"


def test_the_shape_is_that_of_trustees_tokens():
    module = CLAIMS["submods"]["cpu0"]
    evidence = module["ear.veraison.annotated-evidence"]
    assert evidence["runtime_data_claims"] == {"nonce": TOKEN.nonce, "tee-pubkey": TOKEN.key}
    assert evidence["snp"] == {"measurement": "00"}
    assert (module["ear.status"], module["ear.appraisal-policy-id"]) == ("affirming", "web/1")
    assert {"eat_profile", "iss", "iat", "exp", "ear.verifier-id"} <= set(CLAIMS)


def test_a_token_of_another_key_issuer_audience_or_time_is_refused():
    text = KEY.sign(CLAIMS)
    assert refused(text, keys=[SigningKey.generate()])
    assert refused(text, keys=[])
    assert refused(text, issuer="https://other.example.com")
    assert refused(text, at=AT + timedelta(minutes=5, seconds=1))
    assert refused(text, at=AT - timedelta(seconds=1))
    assert refused(KEY.sign(CLAIMS | {"aud": "https://other.example.com"}))
    assert refused(KEY.sign({key: value for key, value in CLAIMS.items() if key != "exp"}))
    assert refused(KEY.sign(CLAIMS | {"exp": "tomorrow"}))
    assert refused(KEY.sign(CLAIMS | {"jti": 7}))


def b64(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "None"}, {"alg": "HS256"}, {"alg": "ES384"}, {}])
def test_other_algorithms_are_refused(header):
    _, claims, signature = KEY.sign(CLAIMS).split(".")
    assert refused(f"{b64(header)}.{claims}.{signature}")
    assert refused(f"{b64(header)}.{claims}.")


def test_the_public_key_is_not_taken_for_a_shared_secret():
    # joserfc does not sign so, for this reason; an attacker does.
    signed = f"{b64({'alg': 'HS256', 'typ': 'JWT'})}.{KEY.sign(CLAIMS).split('.')[1]}"
    signature = hmac.digest(KEY.public_pem(), signed.encode(), "sha256")
    assert refused(f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_key_in_the_header_is_not_believed():
    foreign = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "jwk": foreign.as_dict(private=False), "kid": KEY.kid}
    assert refused(jwt.encode(header, CLAIMS, foreign))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.é.é", "x" * 70000, "a.b.c.d.e", "\0.\0.\0"])
def test_what_is_no_token(text):
    assert refused(text)


def test_a_signing_key_comes_back_from_its_file():
    again = SigningKey.from_pem(KEY.to_pem())
    assert again.kid == KEY.kid
    assert verify_token(again.sign(CLAIMS), [KEY], URL, AT)
    for wrong in (b"", b"x", KEY.public_pem(), ECKey.generate_key("P-384").as_pem(private=True)):
        with pytest.raises(InvalidMessage):
            SigningKey.from_pem(wrong)
