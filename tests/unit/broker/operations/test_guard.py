"""What stands before the application, over real connections: limits, sizes, slow and idle clients, ids, one log line."""

import json
import logging
import re
import socket
from time import monotonic

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.support.asgi import exchange, read_all, served
from tests.support.evidence import AT

from haulout.broker.operations.connections import Connections
from haulout.broker.operations.guard import Bounds, Guard, Limits, counted_as
from haulout.broker.operations.limits import Limit, Limiter
from haulout.broker.operations.logs import current_request
from haulout.broker.operations.metrics import Metrics
from haulout.broker.protocol import Rejected, Trouble


async def echo(request):
    return PlainTextResponse(f"{len(await request.body())} {request.state.request} {current_request()}")


async def fail(request):
    raise ValueError("secret words of an error")


async def stream(request):
    async for _ in request.stream():
        pass
    return PlainTextResponse("read")


def guard(*, limits=None, **bounds):
    app = Starlette(
        routes=[
            Route("/echo", echo, methods=["GET", "POST"]),
            Route("/stream", stream, methods=["POST"]),
            Route("/fail", fail),
            Route("/healthz", echo),
        ]
    )
    metrics = Metrics(clock=lambda: AT)
    made = Guard(app, limits=limits or Limits(), metrics=metrics, monotonic=monotonic, bounds=Bounds(**bounds))
    return made, metrics


def get(path, *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: broker", "Connection: close", *headers, "", ""]).encode()


def post(path, body, *, length=None):
    size = len(body) if length is None else length
    return (
        f"POST {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode() + body
    )


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def samples(metrics):
    families = text_string_to_metric_families(metrics.text().decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for each in families for one in each.samples}


def test_each_request_has_an_id_in_the_answer_the_application_and_the_log(caplog):
    made, metrics = guard()
    with caplog.at_level(logging.INFO, "haulout.broker"), served(made) as address:
        status, headers, body = parsed(exchange(address, get("/echo?token=abc")))
    name = headers["x-request-id"]
    assert (status, body.decode()) == (200, f"0 {name} {name}")
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    [record] = [one for one in caplog.records if one.name == "haulout.broker.access"]
    assert record.__dict__["path"] == "/echo"
    assert "abc" not in str(record.__dict__)
    labels = (("endpoint", "echo"), ("method", "GET"), ("status", "200"))
    assert samples(metrics)["haulout_broker_request_seconds_count", labels] == 1


def test_too_many_requests_of_a_client_are_told_when_to_come_back_and_probes_are_not():
    made, metrics = guard(limits=Limits(client=Limiter(Limit(burst=2, per_second=0.01))))
    with served(made) as address:
        found = [parsed(exchange(address, get("/echo"))) for _ in range(3)]
        probes = [parsed(exchange(address, get("/healthz")))[0] for _ in range(5)]
    assert [status for status, _, _ in found] == [200, 200, 429]
    assert probes == [200] * 5
    _, headers, body = found[2]
    assert headers["content-type"] == "application/problem+json"
    assert 1 <= int(headers["retry-after"]) <= 100
    problem = json.loads(body)
    assert problem["status"] == 429
    assert problem["type"].endswith("/TooManyRequests")
    assert problem["instance"] == f"urn:haulout:request:{headers['x-request-id']}"
    assert samples(metrics)["haulout_broker_limited_total", (("limit", "client"),)] == 1


def test_a_workload_has_a_limit_of_its_own():
    _, metrics = guard()
    limits = Limits(workload=Limiter(Limit(burst=1, per_second=0.5)))
    limits.require("workload", "a", metrics, 0.0)
    limits.require("workload", "b", metrics, 0.0)
    with pytest.raises(Rejected) as caught:
        limits.require("workload", "a", metrics, 0.0)
    assert (caught.value.trouble, caught.value.retry_after) == (Trouble.TOO_MANY, 2)


def test_behind_a_proxy_the_address_that_it_wrote_counts():
    app, _ = guard()
    limits = Limits(client=Limiter(Limit(burst=1, per_second=0.01)))
    made = Guard(app._app, limits=limits, metrics=Metrics(clock=lambda: AT), monotonic=monotonic, forwarded=True)
    with served(made) as address:
        asked = [
            parsed(exchange(address, get("/echo", f"X-Forwarded-For: {value}")))[0]
            for value in ("192.0.2.1", "192.0.2.2", "192.0.2.1, 192.0.2.3", "192.0.2.9, 192.0.2.1")
        ]
    assert asked == [200, 200, 200, 429]


def test_a_body_that_is_too_large_is_refused_by_its_head_or_as_it_comes():
    made, _ = guard(body=1000)
    chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served(made) as address:
        for data in (
            post("/echo", b"", length=1001),
            post("/echo", b"", length=10**14),
            post("/stream", b"", length=1001),
            chunked + b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(11)),
        ):
            status, _, body = parsed(exchange(address, data))
            assert (status, json.loads(body)["title"]) == (413, "PayloadTooLarge")
        assert parsed(exchange(address, post("/echo", b"x" * 1000)))[0] == 200


@pytest.mark.parametrize("path", ["/echo", "/stream"])
def test_a_body_that_does_not_come_ends_the_request(path):
    made, metrics = guard(body_seconds=0.2)
    with served(made) as address:
        status, _, body = parsed(exchange(address, post(path, b"x", length=10)))
    assert (status, json.loads(body)["detail"]) == (408, "the body did not come in time")
    assert any(dict(labels).get("status") == "408" for _, labels in samples(metrics))


def test_a_client_that_says_nothing_or_next_to_nothing_is_disconnected():
    made, _ = guard()
    connections = Connections(seconds=0.3)
    with served(made, http=connections) as address:
        for said in (b"", b"G", b"GET /echo HTTP/1.1\r\nHost: a\r\nX: "):
            assert exchange(address, said) == b""
        # The same after a first request on the connection.
        with socket.create_connection(address, timeout=240) as connection:
            connection.sendall(get("/healthz").replace(b"Connection: close\r\n", b""))
            found = b""
            while not re.search(rb"\r\n\r\n0 [0-9a-f]{16} [0-9a-f]{16}", found):
                found += connection.recv(65536)
            connection.sendall(b"GET /ec")
            assert read_all(connection) == b""
    assert connections.open == {}


def test_a_request_that_takes_long_is_not_disconnected():
    made, _ = guard()

    async def slow(scope, receive, send):
        import asyncio

        await asyncio.sleep(0.6)
        await made(scope, receive, send)

    with served(slow, http=Connections(seconds=0.2)) as address:
        assert parsed(exchange(address, get("/echo")))[0] == 200


def test_one_address_cannot_have_all_connections():
    made, _ = guard()
    connections = Connections(most=3)
    with served(made, http=connections) as address:
        held = [socket.create_connection(address, timeout=240) for _ in range(3)]
        # The server has seen each once it has answered on it.
        for one in held:
            one.sendall(get("/echo").replace(b"Connection: close\r\n", b""))
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        assert exchange(address, b"") == b""
        for one in held:
            one.close()
        deadline = monotonic() + 240
        while connections.open and monotonic() < deadline:
            pass
        assert parsed(exchange(address, get("/echo")))[0] == 200


@pytest.mark.parametrize("data", [b"\0\1\2\3\r\n\r\n", b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_answered_and_disconnected(data):
    made, _ = guard()
    with served(made, http=Connections()) as address:
        assert exchange(address, data).startswith(b"HTTP/1.1 400")


def test_a_failure_is_a_problem_without_its_words_and_the_log_has_its_place(caplog):
    made, _ = guard()
    # Without Starlette's own last resort, which answers first.
    made._app = made._app.router
    with caplog.at_level(logging.INFO, "haulout.broker"), served(made) as address:
        status, _, body = parsed(exchange(address, get("/fail")))
    assert status == 500
    assert b"secret" not in body
    assert "failed" in [one.message for one in caplog.records]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_a_network_of_ipv6_counts_as_one_client(address, key):
    assert counted_as(address) == key
