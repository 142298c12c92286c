"""The client as those use it that are no registry's: a key broker's client, and the fetcher of an update framework."""

from __future__ import annotations

import json
import time

import pytest
from tests.support.simulators.registry import Response, ScriptedServer

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError, UnreachableError
from haulout.http import Client, HttpOptions

FAST = HttpOptions(attempts=2, stall_seconds=1.0, connect_seconds=2.0)
ENVIRONMENT = {"HOME": "/nonexistent"}


class Broker:
    """A broker's client in ten lines."""

    def __init__(self, url: str, client: Client) -> None:
        self._url, self._client = url, client

    def nonce(self) -> tuple[str, str]:
        answer = self._client.post_json(
            f"{self._url}/auth", b'{"version":"0.1.0"}', what="asking for a nonce", most=999
        )
        return answer.json_object("asking for a nonce")["nonce"], answer.headers["set-cookie"]

    def key(self, evidence: dict[str, str], cookie: str) -> bytes:
        document, headers = json.dumps(evidence).encode(), {"Cookie": cookie}
        return self._client.post_json(f"{self._url}/attest", document, what="attesting", headers=headers).body


class DownloadError(Exception):
    """As python-tuf's."""


class DownloadHTTPError(DownloadError):
    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class Fetcher:
    """python-tuf's FetcherInterface in ten lines."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def _fetch(self, url: str):
        try:
            return self._client.stream(url, what="fetching metadata", most=1000)
        except HauloutError as error:
            status = {NotFoundError: 404, DeniedError: 403}.get(type(error)) or getattr(error, "status", None)
            raise (DownloadHTTPError(str(error), status) if status else DownloadError(str(error))) from error


@pytest.fixture
def client():
    with Client(FAST, environment=ENVIRONMENT) as found:
        yield found


def test_a_broker_is_talked_to_through_trouble(client):
    def handle(request):
        if request.number == 0:
            return Response(503, {"Retry-After": "0"})
        if request.path == "/auth":
            return Response(200, {"Set-Cookie": "session=1"}, b'{"nonce":"abc"}')
        assert request.headers["cookie"] == "session=1"
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body) == {"report": "r", "nonce": "abc"}
        return Response(200, body=b"the key")

    with ScriptedServer(handle) as server:
        broker = Broker(server.url, client)
        nonce, cookie = broker.nonce()
        assert broker.key({"report": "r", "nonce": nonce}, cookie) == b"the key"
        assert client.meter.traffic.requests == 3


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Response(401), DeniedError, "answers 401 Unauthorized"),
        (Response(404), NotFoundError, "asking for a nonce: not found in"),
        (Response(418), RegistryError, "418"),
        (Response(302, {"Location": "/elsewhere"}), RegistryError, "302 Found"),
        (Response(503), RegistryError, "503"),
        (Response(200, body=b"[]"), RegistryError, "does not answer with a JSON object"),
        (Response(200, body=b"<html>SECRET"), RegistryError, "does not answer with JSON"),
        (Response(200, body=b"[" * 900), RegistryError, "JSON"),
        (Response(200, body=b"x" * 2000), RegistryError, "at most 999"),
        (Response(200, {"Content-Length": "", "Connection": "close"}, b"x" * 2000), RegistryError, "999"),
        (Response(200, {"Content-Encoding": "gzip"}, b"{}"), RegistryError, "encoded"),
        (Response(hang_up=True), UnreachableError, "broke"),
    ],
)
def test_what_a_broker_does_wrong_is_one_typed_line(client, answer, kind, says):
    with ScriptedServer(lambda _: answer) as server, pytest.raises(kind, match=says) as caught:
        Broker(server.url, client).nonce()
    assert str(caught.value).startswith("asking for a nonce: ")
    assert "SECRET" not in str(caught.value)
    assert "haulout login" not in (caught.value.hint or "")


def test_what_must_not_be_sent_twice_is_not(client):
    with ScriptedServer(lambda _: Response(503)) as server, pytest.raises(RegistryError) as caught:
        client.post_json(server.url, b"{}", what="registering", attempts=1)
    assert caught.value.status == 503
    assert len(server.requests) == 1


def test_a_fetcher_streams_through_redirects(client):
    def handle(request):
        if request.path == "/1.root.json":
            return Response(302, {"Location": "/store/root?signature=1"})
        return Response(200, body=b"m" * 1000)

    with ScriptedServer(handle) as server:
        assert b"".join(Fetcher(client)._fetch(f"{server.url}/1.root.json")) == b"m" * 1000


@pytest.mark.parametrize(("status", "found"), [(404, 404), (403, 403), (500, 500), (410, 410)])
def test_a_fetcher_sees_the_status(client, status, found):
    with ScriptedServer(lambda _: Response(status)) as server, pytest.raises(DownloadHTTPError) as caught:
        Fetcher(client)._fetch(server.url)
    assert caught.value.status_code == found


def test_a_fetcher_gets_no_more_than_it_asked_for(client):
    with ScriptedServer(lambda _: Response(200, {"Content-Length": ""}, b"m" * 1001)) as server:
        blocks = Fetcher(client)._fetch(server.url)
        with pytest.raises(RegistryError, match="more than the 1000 bytes"):
            list(blocks)


def test_a_stream_that_breaks_off_says_so(client):
    with ScriptedServer(lambda _: Response(200, {}, b"m" * 900, cut=100)) as server:
        blocks = Fetcher(client)._fetch(server.url)
        with pytest.raises(UnreachableError, match="fetching metadata: the connection"):
            list(blocks)


def test_redirects_end(client):
    with ScriptedServer(lambda _: Response(302, {"Location": "/again"})) as server:
        with pytest.raises(DownloadError, match="redirects more than 5 times"):
            Fetcher(client)._fetch(server.url)
        assert len(server.requests) == 6


def test_credentials_do_not_follow_a_redirect_to_another_origin(client):
    with ScriptedServer(lambda _: Response(200, body=b"ok")) as other:
        with ScriptedServer(lambda _: Response(307, {"Location": f"{other.url}/x"})) as server:
            secrets = {"Authorization": "Bearer SECRET", "Cookie": "SECRET", "X-Api-Key": "SECRET", "Accept": "a/b"}
            assert b"".join(client.stream(server.url, what="x", most=9, headers=secrets)) == b"ok"
            assert server.requests[0].headers["authorization"] == "Bearer SECRET"
        (seen,) = other.requests
    assert "SECRET" not in str(seen.headers)
    assert seen.headers["accept"] == "a/b"


def test_a_redirect_away_from_tls_or_into_the_machine_is_refused(client):
    from haulout.http import Origin, Targets, TlsProfile

    targets = Targets(lambda _: TlsProfile())
    public = Origin("https", "8.8.8.8", 443)
    for there in (Origin("http", "8.8.4.4", 80), Origin("https", "127.0.0.1", 443), Origin("https", "10.0.0.1", 443)):
        with pytest.raises(DeniedError, match=r"store\.example redirects"):
            targets.profile(public, there, "store.example")
    assert targets.profile(public, Origin("https", "8.8.4.4", 443), "store.example") == TlsProfile()


def test_nothing_listens(client):
    with ScriptedServer() as server:
        url = server.url
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="nothing listens"):
        client.post_json(url, b"{}", what="x")
    assert time.monotonic() - began < 10
