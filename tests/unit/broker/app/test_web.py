"""What a request says of its client."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from haulout.broker.app.web import client_of


@pytest.mark.parametrize(
    ("forwarded", "lines", "client"),
    [
        (False, ["192.0.2.9"], "198.51.100.1"),
        (True, [], "198.51.100.1"),
        (True, ["6.6.6.6, 192.0.2.9"], "192.0.2.9"),
        (True, ["6.6.6.6", "192.0.2.9"], "192.0.2.9"),
        (True, ["nonsense"], "198.51.100.1"),
    ],
)
def test_the_proxys_own_word_counts(forwarded, lines, client):
    headers = [(b"x-forwarded-for", line.encode()) for line in lines]
    request = Request({"type": "http", "headers": headers, "client": ("198.51.100.1", 1)})
    assert client_of(request, forwarded=forwarded) == client
