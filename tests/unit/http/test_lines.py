"""Lines without end are given up by their count, not by a clock."""

from __future__ import annotations

import pytest
from tests.support.simulators.proxies import proxy

from haulout.errors import RegistryError
from haulout.http import Client, HttpOptions

OPTIONS = HttpOptions(attempts=3, connect_seconds=5.0, stall_seconds=20.0)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n"


def ask(talk):
    with proxy(talk) as address, Client(OPTIONS, environment={}) as client:
        return b"".join(client.stream(f"http://{address}/x", what="a thing", most=100))


@pytest.mark.parametrize(
    ("first", "line"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
        (CHUNKED, b"X-Trailer: y\r\n"),
    ],
    ids=["100", "100 with a header", "trailers"],
)
def test_lines_without_end_are_refused_at_once(first, line):
    asked = []

    def talk(client):
        asked.append(client.recv(1000))
        client.sendall(first)
        while True:
            client.sendall(line * 1000)

    with pytest.raises(RegistryError) as error:
        ask(talk)
    assert "answers with something that is not HTTP: line after line, and no content" in str(error.value)
    # It would do the same again.
    assert len(asked) == 1


def test_a_few_interim_answers_and_trailers_are_no_trouble():
    def talk(client):
        client.recv(1000)
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + CHUNKED + b"X-Trailer: y\r\n\r\n")

    assert ask(talk) == b"here"


def test_a_body_of_many_small_chunks_is_no_trouble():
    def talk(client):
        client.recv(1000)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n")

    with proxy(talk) as address, Client(OPTIONS, environment={}) as client:
        found = b"".join(client.stream(f"http://{address}/x", what="a thing", most=5000))
    assert found == b"x" * 3000
