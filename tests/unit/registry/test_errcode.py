"""What registries answer becomes one clear line, and the right error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError
from haulout.http import Answer
from haulout.registry.errcode import codes, failure


def _body(*errors: dict[str, str]) -> bytes:
    return json.dumps({"errors": list(errors)}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, DeniedError),
        (403, DeniedError),
        (404, NotFoundError),
        (429, RegistryError),
        (400, RegistryError),
        (500, RegistryError),
        (599, RegistryError),
    ],
)
def test_statuses_become_their_errors(status, kind):
    error = failure(Answer(status, {}, _body({"code": "SOME", "message": "words"})), "x", "host.example")

    assert type(error) is kind
    assert str(error).startswith("x: ")


def test_the_servers_words_are_shown_on_one_line():
    answer = Answer(400, {}, _body({"code": "NAME_INVALID", "message": "bad\nname\x1b[31m"}, {"code": "B"}))

    assert str(failure(answer, "x", "h")) == "x: h answers 400 Bad Request (NAME_INVALID: bad name [31m; B)"
    assert codes(answer.body) == {"NAME_INVALID", "B"}


def test_denied_says_how_to_log_in_and_429_how_long_to_wait():
    assert failure(Answer(401, {}), "x", "host.example").hint == "haulout login host.example"
    assert "wait 90 s" in str(failure(Answer(429, {"retry-after": "90"}), "x", "host.example"))


def test_a_web_page_is_named():
    answer = Answer(503, {"content-type": "text/html; charset=utf-8"}, b"<html>Please log in</html>")
    error = failure(answer, "x", "host.example")

    assert "web page" in str(error)
    assert "proxy" in (error.hint or "")
    assert "Please" not in str(error)


@given(st.binary(max_size=300), st.integers(100, 999))
def test_any_body_is_described(body, status):
    error = failure(Answer(status, {}, body), "x", "h")

    assert isinstance(error, HauloutError)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "body", [b'{"errors":[1,null]}', b'{"errors":{}}', b"[" * 100_000, b'{"errors":[{"code":{}}]}']
)
def test_strange_bodies_are_borne(body):
    assert str(failure(Answer(500, {}, body), "x", "h")).startswith("x: h answers 500 Internal Server Error")
