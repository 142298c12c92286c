"""What no honest registry does: every case ends soon, in one clear line, and no credential leaves its origin."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.support.servers import issue_tls
from tests.support.simulators.registry import Basic, Bearer, Response, ScriptedServer, SimulatedRegistry, spoil

from haulout.errors import (
    DeniedError,
    DigestMismatch,
    HauloutError,
    InvalidManifest,
    NotFoundError,
    RegistryError,
    SizeMismatch,
    UnreachableError,
    UsageError,
)
from haulout.oci import (
    Descriptor,
    Digest,
    Index,
    RegistryReference,
    empty_config_manifest,
    fallback_tag,
    mediatype,
    parse_reference,
)
from haulout.registry import ConnectionOptions, Credentials, Registries

CONTENT = os.urandom(2_000_000)
BLOB = Descriptor.of(mediatype.OCTETS, CONTENT)
MANIFEST = empty_config_manifest((BLOB,), artifact_type="application/x.test")
ANNA = Credentials("anna", "s3cr3t-pass")


def reference(host):
    found = parse_reference(f"{host}/m:1")
    assert isinstance(found, RegistryReference)
    return found


@contextmanager
def opened(registry, *, push=False, note=None, **options):
    options = {"attempts": 3, "stall_seconds": 1.0, "connect_seconds": 2.0} | options
    with Registries(ConnectionOptions(**options), environment={"HOME": "/nonexistent"}, note=note) as registries:
        yield registries.repository(reference(registry.host), push=push)


@pytest.fixture
def registry():
    with SimulatedRegistry() as server:
        fill(server)
        yield server


def fill(server):
    server.add_blob(CONTENT)
    server.add_manifest("m", MANIFEST.to_bytes(), MANIFEST.media_type, "1")


def read(store, start=0, stop=None, block=1 << 20):
    with store.open_blob(BLOB, start, stop) as stream:
        return b"".join(iter(lambda: stream.read(block), b""))


def on(method, contains, answer, times=10**9):
    """A hook that answers the first ``times`` requests of a kind."""
    left = [times]

    def before(request):
        if request.method == method and contains in request.path and left[0] > 0:
            left[0] -= 1
            return answer(request)
        return None

    return before


# -- busy, broken and slow servers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_moment_of_trouble_is_waited_out(registry, status):
    registry.before = on("GET", "/manifests/", lambda _: Response(status), times=2)
    with opened(registry) as store:
        assert store.manifest("1").descriptor.media_type == MANIFEST.media_type
        assert store.traffic.requests == 3


def test_retry_after_is_obeyed(registry):
    registry.before = on("GET", "/blobs/", lambda _: Response(429, {"Retry-After": "1"}), times=1)
    with opened(registry) as store:
        began = time.monotonic()
        assert read(store) == CONTENT
        assert 1.0 <= time.monotonic() - began < 3.0


def test_a_wait_that_is_too_long_is_told_instead(registry):
    registry.before = on("GET", "/manifests/", lambda _: Response(429, {"Retry-After": "3600"}))
    with opened(registry) as store:
        with pytest.raises(RegistryError, match="wait 3600 s") as caught:
            store.manifest("1")
        assert caught.value.status == 429
        assert store.traffic.requests == 1


def test_lasting_trouble_is_given_up(registry):
    registry.before = on(
        "GET", "/blobs/", lambda _: Response(500, {}, b'{"errors":[{"code":"UNKNOWN","message":"disk"}]}')
    )
    with opened(registry) as store:
        with pytest.raises(RegistryError, match=r"500 Internal Server Error \(UNKNOWN: disk\)"):
            read(store)
        assert store.traffic.requests == 3


def test_other_refusals_are_not_repeated(registry):
    for status in (400, 405, 418):
        registry.before = on("GET", "/manifests/", lambda _, status=status: Response(status))
        with opened(registry) as store:
            with pytest.raises(RegistryError, match=str(status)):
                store.manifest("1")
            assert store.traffic.requests == 1


def test_a_stream_goes_on_where_the_connection_broke(registry):
    registry.before = on("GET", "/blobs/", lambda r: spoil(registry.answer(r), cut=300_000), times=5)
    with opened(registry) as store:
        assert read(store, 100, block=65_536) == CONTENT[100:]
    starts = [request.range[0] for request in registry.seen("GET", "/blobs/")]
    assert starts == [100 + number * 300_000 for number in range(6)]


def test_a_stream_goes_on_even_where_ranges_are_ignored(registry):
    registry.ranges = False
    registry.before = on("GET", "/blobs/", lambda r: spoil(registry.answer(r), cut=900_000), times=1)
    with opened(registry) as store:
        assert read(store, block=65_536) == CONTENT


def test_a_connection_that_always_breaks_is_given_up(registry):
    registry.before = on("GET", "/blobs/", lambda r: spoil(registry.answer(r), cut=0))
    with opened(registry) as store, pytest.raises(UnreachableError, match="broke"):
        read(store)


def test_hanging_up_without_an_answer_is_borne(registry):
    registry.before = on("GET", "/manifests/", lambda _: Response(hang_up=True), times=2)
    with opened(registry) as store:
        store.manifest("1")


def test_a_stalled_stream_is_taken_up_again(registry):
    registry.before = on("GET", "/blobs/", lambda r: spoil(registry.answer(r), pause=30, pieces=1_000_000), times=1)
    with opened(registry, stall_seconds=0.3) as store:
        began = time.monotonic()
        assert read(store) == CONTENT
        assert time.monotonic() - began < 5


def test_a_silent_server_is_given_up(registry):
    registry.before = on("GET", "/manifests/", lambda _: Response(header_pause=30))
    with opened(registry, stall_seconds=0.2) as store, pytest.raises(UnreachableError, match="in time"):
        store.manifest("1")


def test_a_drip_fed_body_is_given_up(registry):
    registry.before = on("GET", "/blobs/", lambda r: spoil(registry.answer(r), pause=0.1, pieces=1))
    with opened(registry, stall_seconds=0.4, attempts=2) as store:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="in time"), store.open_blob(BLOB) as stream:
            stream.read(1000)
        assert time.monotonic() - began < 6


def test_a_drip_fed_header_is_given_up():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def drip():
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                        continue
                    for byte in b"HTTP/1.1 200 OK\r\nX-Endless: " + b"a" * 10_000:
                        try:
                            connection.send(bytes([byte]))
                        except OSError:
                            break
                        if stop.wait(0.05):
                            break

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            options = ConnectionOptions(stall_seconds=0.3, attempts=1)
            began = time.monotonic()
            with Registries(options) as registries:
                store = registries.repository(reference(f"127.0.0.1:{listener.getsockname()[1]}"))
                with pytest.raises(UnreachableError, match="in time"):
                    store.manifest("1")
            assert time.monotonic() - began < 5
        finally:
            stop.set()
            thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 70_000, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300],
)
def test_what_is_not_http_is_said_to_be_so(answer):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve():
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    if connection.recv(1, socket.MSG_PEEK) != b"\x16":
                        connection.recv(10_000)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with Registries(ConnectionOptions(attempts=1, stall_seconds=1.0)) as registries:
            host = f"127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises((UnreachableError, RegistryError)) as caught:
                registries.repository(reference(host)).manifest("1")
        assert "\n" not in str(caught.value)
        stop.set()
        thread.join(10)


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    with Registries() as registries, pytest.raises(UnreachableError, match="nothing listens"):
        registries.repository(reference(host)).manifest("1")


# -- ranges that lie -----------------------------------------------------------------------------------------------------


def _ranged(**headers):
    def answer(registry):
        return lambda r: spoil(registry.answer(r), headers=registry.answer(r).headers | headers)

    return answer


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("bytes 0-999/2000000", RegistryError),
        ("bytes 1001-2000/2000000", RegistryError),
        ("bytes 1000-9999/2000000", RegistryError),
        ("bytes 1000-999/2000000", RegistryError),
        ("bytes 1000-1999/3000000", SizeMismatch),
        ("bytes=1000-1999/2000000", RegistryError),
        ("items 1000-1999/2000000", RegistryError),
        ("bytes 1000-1999/-1", RegistryError),
        ("", RegistryError),
        ("bytes " + "9" * 5000, RegistryError),
    ],
)
def test_a_part_that_is_not_the_one_asked_for(registry, value, kind):
    registry.before = on("GET", "/blobs/", _ranged(**{"Content-Range": value})(registry))
    with opened(registry) as store, pytest.raises(kind):
        read(store, 1000, 2000)


def test_a_part_of_unknown_total_is_accepted(registry):
    registry.before = on("GET", "/blobs/", _ranged(**{"Content-Range": "bytes 1000-1999/*"})(registry))
    with opened(registry) as store:
        assert read(store, 1000, 2000) == CONTENT[1000:2000]


def test_a_shorter_part_than_asked_is_completed(registry):
    def shorter(request):
        start, stop = request.range
        stop = min(stop, start + 400)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}"}
        return Response(206, headers, CONTENT[start:stop])

    registry.before = on("GET", "/blobs/", shorter)
    with opened(registry) as store:
        assert read(store, 1000, 2000) == CONTENT[1000:2000]
        assert store.traffic.requests == 3


@pytest.mark.parametrize("length", ["1999999", "2000001", "0"])
def test_a_whole_blob_of_the_wrong_length(registry, length):
    registry.before = on("GET", "/blobs/", lambda _: Response(200, {"Content-Length": length}, CONTENT[: int(length)]))
    with opened(registry) as store, pytest.raises(SizeMismatch):
        read(store)


def test_a_blob_that_ends_early_without_a_length_is_not_believed(registry):
    registry.before = on("GET", "/blobs/", lambda _: Response(200, {"Content-Length": ""}, CONTENT[:1000]))
    with opened(registry) as store, pytest.raises(HauloutError):
        read(store)


def test_no_such_range(registry):
    registry.before = on("GET", "/blobs/", lambda _: Response(416, {"Content-Range": "bytes */5"}))
    with opened(registry) as store, pytest.raises(SizeMismatch, match="no such range"):
        read(store, 1000, 2000)


@pytest.mark.parametrize("path", ["/blobs/", "/manifests/"])
def test_encoded_bodies_are_refused(registry, path):
    registry.before = on("GET", path, _ranged(**{"Content-Encoding": "gzip"})(registry))
    with opened(registry) as store, pytest.raises(RegistryError, match="encoded as 'gzip'"):
        store.manifest("1") if "manifests" in path else read(store)
    assert registry.seen()[0].headers["accept-encoding"] == "identity"


def test_ranges_outside_the_blob_are_our_own_mistake(registry):
    with opened(registry) as store:
        for start, stop in ((-1, 5), (5, 4), (0, BLOB.size + 1)):
            with pytest.raises(UsageError):
                store.open_blob(BLOB, start, stop)


# -- manifests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 403, 404, 502])
def test_a_web_page_is_called_one(registry, status):
    page = Response(status, {"Content-Type": "text/html"}, b"<html>please log in</html>")
    registry.before = on("GET", "/manifests/", lambda _: page)
    with opened(registry, attempts=1) as store, pytest.raises(HauloutError, match="web page") as caught:
        store.manifest("1")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/plain", b"hello", InvalidManifest),
        ("application/json", b"[]", InvalidManifest),
        ("application/json", b"{", InvalidManifest),
        ("", b"<!doctype html>", InvalidManifest),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion":1}', InvalidManifest),
        ("application/octet-stream", b"\xff\xfe", InvalidManifest),
    ],
)
def test_what_is_no_manifest_is_refused(registry, content_type, body, kind):
    registry.before = on("GET", "/manifests/", lambda _: Response(200, {"Content-Type": content_type}, body))
    with opened(registry) as store, pytest.raises(kind):
        store.manifest("1")


def test_the_type_announced_must_be_the_type_inside(registry):
    headers = {"Content-Type": mediatype.OCI_INDEX}
    registry.before = on("GET", "/manifests/", lambda _: Response(200, headers, MANIFEST.to_bytes()))
    with opened(registry) as store, pytest.raises(InvalidManifest):
        store.manifest("1").parse("x")


def test_an_unhelpful_content_type_is_looked_through(registry):
    registry.before = on(
        "GET", "/manifests/", lambda _: Response(200, {"Content-Type": "application/json"}, MANIFEST.to_bytes())
    )
    with opened(registry) as store:
        assert store.manifest("1").descriptor == Descriptor.of(MANIFEST.media_type, MANIFEST.to_bytes())


def test_a_manifest_asked_by_digest_must_be_it(registry):
    other = empty_config_manifest(()).to_bytes()
    registry.before = on("GET", "/manifests/", lambda _: Response(200, {"Content-Type": MANIFEST.media_type}, other))
    with opened(registry) as store, pytest.raises(DigestMismatch):
        store.manifest(Digest.of(MANIFEST.to_bytes()))


def test_a_digest_the_server_states_is_checked_too(registry):
    headers = {"Content-Type": MANIFEST.media_type, "Docker-Content-Digest": str(Digest.of(b"other"))}
    registry.before = on("GET", "/manifests/", lambda _: Response(200, headers, MANIFEST.to_bytes()))
    with opened(registry) as store, pytest.raises(DigestMismatch):
        store.manifest("1")


@pytest.mark.parametrize("length", ["1073741824", "4194305", ""])
def test_a_giant_manifest_is_never_held(registry, length):
    headers = {"Content-Type": MANIFEST.media_type, "Content-Length": length}
    registry.before = on("GET", "/manifests/", lambda _: Response(200, headers, b"[" * (6 << 20)))
    with opened(registry) as store:
        with pytest.raises(RegistryError, match="4194304"):
            store.manifest("1")
        assert store.traffic.received <= (4 << 20) + 1


def test_warnings_are_shown_once(registry):
    notes: list[str] = []
    registry.before = on("GET", "/manifests/", _ranged(Warning='299 - "going \\"away\\"\x1b[31m soon"')(registry))
    with opened(registry, note=notes.append) as store:
        for _ in range(3):
            store.manifest("1")
    assert notes == [f'warning from {registry.host}: going "away" [31m soon']


# -- redirects -----------------------------------------------------------------------------------------------------------


class Storage(ScriptedServer):
    """A store behind signed URLs, on another port: another origin."""

    def __init__(self, lives=10**9):
        super().__init__()
        self.lives = lives
        self.refusal = 403

    def handle(self, request):
        self.lives -= 1
        if self.lives < 0:
            return Response(self.refusal, {}, b"<Error>Request has expired</Error>")
        wanted = request.range
        if wanted is None:
            return Response(200, {}, CONTENT)
        start, stop = wanted
        return Response(206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}"}, CONTENT[start:stop])


@pytest.mark.parametrize("auth", [Basic("anna", "s3cr3t-pass"), Bearer("anna", "s3cr3t-pass")])
def test_a_redirect_is_resolved_once_and_gets_no_credentials(registry, auth):
    registry.auth = auth
    with Storage() as storage, opened(registry, credentials=ANNA) as store:
        where = {"Location": f"{storage.url}/blob?sig=abc%2Fdef"}

        def redirect(request):
            answer = registry.answer(request)
            return Response(307, where) if answer.status in {200, 206} else answer

        registry.before = on("GET", "/blobs/", redirect)
        for start in range(0, 1_000_000, 100_000):
            assert read(store, start, start + 100_000) == CONTENT[start : start + 100_000]
        redirected = [one for one in registry.seen("GET", "/blobs/") if "authorization" in one.headers]
        assert len(redirected) == 1
        assert len(storage.seen()) == 10
        assert all("authorization" not in one.headers for one in storage.seen())
        assert storage.seen()[0].query == {"sig": "abc/def"}


@pytest.mark.parametrize("refusal", [400, 401, 403, 404, 410])
def test_an_expired_url_is_renewed(registry, refusal):
    with Storage(lives=2) as storage, opened(registry) as store:
        storage.refusal = refusal

        def redirect(_):
            storage.lives = 2
            return Response(307, {"Location": f"{storage.url}/blob"})

        registry.before = on("GET", "/blobs/", redirect)
        for start in range(0, 500_000, 100_000):
            assert read(store, start, start + 100_000) == CONTENT[start : start + 100_000]
        assert len(registry.seen("GET", "/blobs/")) == 3


def test_a_store_that_never_lets_us_in_is_given_up(registry):
    with Storage(lives=0) as storage, opened(registry) as store:
        registry.before = on("GET", "/blobs/", lambda _: Response(307, {"Location": f"{storage.url}/blob?sig=SECRET"}))
        with pytest.raises(DeniedError, match=storage.host) as caught:
            read(store)
        assert "SECRET" not in str(caught.value)
        assert len(storage.seen()) == 2


def test_a_store_that_is_gone_is_asked_for_anew(registry):
    with Storage() as storage, opened(registry) as store:
        hosts = iter(["127.0.0.1:1", storage.host])
        registry.before = on("GET", "/blobs/", lambda _: Response(307, {"Location": f"http://{next(hosts)}/blob"}))
        assert read(store) == CONTENT


@pytest.mark.parametrize("kind", ["/blobs/", "/manifests/"])
def test_redirects_in_a_circle_end(registry, kind):
    registry.before = lambda request: Response(307, {"Location": request.path})
    with opened(registry) as store, pytest.raises(RegistryError, match="redirects more than 5 times"):
        store.manifest("1") if "manifests" in kind else read(store)


@pytest.mark.parametrize(
    "location", ["", "ftp://host/x", "http://[::1", "http://user:pw@127.0.0.1/x", "file:///etc/passwd"]
)
@pytest.mark.parametrize("kind", ["/blobs/", "/manifests/"])
def test_redirects_to_nowhere(registry, kind, location):
    registry.before = lambda _: Response(307, {"Location": location})
    with opened(registry) as store, pytest.raises(RegistryError):
        store.manifest("1") if "manifests" in kind else read(store)


def test_manifests_may_be_redirected_without_credentials(registry):
    registry.auth = Basic("anna", "s3cr3t-pass")
    body = MANIFEST.to_bytes()
    with ScriptedServer(lambda _: Response(200, {"Content-Type": MANIFEST.media_type}, body)) as other:

        def redirect(request):
            answer = registry.answer(request)
            return Response(302, {"Location": f"{other.url}/m"}) if answer.status == 200 else answer

        registry.before = on("GET", "/manifests/", redirect)
        with opened(registry, credentials=ANNA) as store:
            assert store.manifest("1").data == body
        assert "authorization" not in other.seen()[0].headers


def test_a_redirect_away_from_tls_is_refused(tmp_path):
    tls = issue_tls(tmp_path / "tls")
    with Storage() as storage, SimulatedRegistry(tls=tls) as registry:
        registry.before = lambda _: Response(307, {"Location": f"{storage.url}/blob"})
        with opened(registry, ca_file=tls.ca) as store, pytest.raises(DeniedError, match="without TLS"):
            read(store)
        assert storage.seen() == []


# -- authentication ------------------------------------------------------------------------------------------------------


def test_an_anonymous_token_makes_three_requests(registry):
    registry.auth = Bearer()
    with opened(registry) as store:
        store.manifest("1")
        assert store.traffic.requests == 3
        read(store)
        assert store.traffic.requests == 4


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_for_somebody(registry, name):
    registry.auth = Bearer("anna", "s3cr3t-pass", field_name=name, lifetime=None)
    with opened(registry, credentials=ANNA) as store:
        store.manifest("1")
    (asked,) = registry.seen("GET", "/token")
    assert asked.query == {"service": "simulated", "scope": "repository:m:pull", "account": "anna"}


def test_an_identity_token(registry):
    registry.auth = Bearer("anna", "unknown", identity_token="r3fresh")
    with opened(registry, credentials=Credentials("", identity_token="r3fresh")) as store:
        store.manifest("1")
    (asked,) = registry.seen("POST", "/token")
    assert b"refresh_token=r3fresh" in asked.body


@pytest.mark.parametrize("credentials", [None, Credentials("anna", "wr0ng")])
def test_no_token_for_strangers(registry, credentials):
    registry.auth = Bearer("anna", "s3cr3t-pass")
    with opened(registry, credentials=credentials) as store, pytest.raises(DeniedError) as caught:
        store.manifest("1")
    assert caught.value.hint == f"haulout login {registry.host}"
    assert "wr0ng" not in str(caught.value)


def test_a_token_that_ends_in_the_middle_is_replaced(registry):
    registry.auth = Bearer("anna", "s3cr3t-pass")
    with opened(registry, credentials=ANNA) as store:
        for start in range(0, 500_000, 100_000):
            assert read(store, start, start + 100_000) == CONTENT[start : start + 100_000]
            registry.tokens.clear()
    assert len(registry.seen("GET", "/token")) == 5


def test_a_registry_that_never_likes_its_tokens_is_given_up(registry):
    registry.auth = Bearer()
    registry.before = on("GET", "/manifests/", lambda r: registry.tokens.clear() or registry.answer(r))
    with opened(registry) as store, pytest.raises(DeniedError):
        store.manifest("1")
    assert len(registry.seen("GET", "/manifests/")) == 3


def test_a_scope_that_is_missing_is_asked_for_once(registry):
    registry.auth = Bearer()

    def before(request):
        if (
            request.path == "/token"
            or "extra" in registry.tokens.get(request.headers.get("authorization", "")[7:], (0, ""))[1]
        ):
            return None
        if request.headers.get("authorization") is None:
            return None
        realm = f'realm="{registry.url}/token",service="simulated"'
        return Response(403, {"WWW-Authenticate": f'Bearer {realm},error="insufficient_scope",scope="extra"'})

    registry.before = before
    # The simulator keeps the last of several scopes; "repository…" sorts after "extra".
    registry._refusal = lambda request: (
        None if "authorization" in request.headers else SimulatedRegistry._refusal(registry, request)
    )
    with opened(registry) as store, pytest.raises(DeniedError):
        store.manifest("1")
    assert "scope=extra" not in str(registry.seen("GET", "/token")[0])
    assert len(registry.seen("GET", "/token")) == 2


def test_threads_share_one_token(registry):
    registry.auth = Bearer()
    with opened(registry) as store:
        threads = [threading.Thread(target=read, args=(store, n * 1000, n * 1000 + 1000)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(registry.seen("GET", "/token")) == 1


def test_a_realm_without_tls_gets_nothing(tmp_path):
    tls = issue_tls(tmp_path / "tls")
    with ScriptedServer() as other, SimulatedRegistry(tls=tls, auth=Bearer(realm=f"{other.url}/token")) as registry:
        with opened(registry, ca_file=tls.ca, credentials=ANNA) as store, pytest.raises(DeniedError, match="not https"):
            store.manifest("1")
        assert other.seen() == []


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[" * 1000, b'{"token":"a\\nb"}', b"x" * (2 << 20)])
def test_a_token_service_that_talks_nonsense(registry, body):
    registry.auth = Bearer()
    registry.before = on("GET", "/token", lambda _: Response(200, {}, body))
    with opened(registry) as store, pytest.raises(RegistryError):
        store.manifest("1")


@pytest.mark.parametrize(
    "challenge", ["", "Negotiate", 'Bearer service="x"', "Digest realm=x", "\x01\x02", 'Bearer realm="no url"']
)
def test_challenges_we_cannot_answer(registry, challenge):
    registry.before = lambda _: Response(401, {"WWW-Authenticate": challenge})
    with opened(registry, credentials=ANNA) as store, pytest.raises(DeniedError):
        store.manifest("1")


# -- uploads -------------------------------------------------------------------------------------------------------------


class Source:
    """Opens bytes, and counts how often."""

    def __init__(self, data=CONTENT):
        self.data = data
        self.opened = []

    def __call__(self):
        import io

        self.opened.append(io.BytesIO(self.data))
        return self.opened[-1]

    @property
    def all_closed(self):
        return all(one.closed for one in self.opened)


@pytest.fixture
def target():
    with SimulatedRegistry() as server:
        yield server


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: Response(503),
        lambda _: Response(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'),
        lambda _: Response(hang_up=True),
    ],
)
@pytest.mark.parametrize("piece", [None, 700_000])
def test_an_upload_that_fails_once_begins_again(target, answer, piece):
    target.before = on("PUT", "/uploads/", answer, times=1)
    source = Source()
    with opened(target, push=True, upload_chunk=piece) as store:
        store.push_blob(BLOB, source)
    assert target.blobs[str(BLOB.digest)] == CONTENT
    assert len(target.seen("POST")) == 2
    assert len(source.opened) == 2
    assert source.all_closed


def test_progress_counts_each_byte_once(target):
    target.before = on("PUT", "/uploads/", lambda _: Response(503), times=1)
    told = []

    class Task:
        def advance(self, amount):
            told.append(amount)

    with opened(target, push=True) as store:
        store.push_blob(BLOB, Source(), Task())
        assert store.traffic.sent == 2 * BLOB.size
    assert sum(told) == BLOB.size


def test_an_upload_that_always_fails_is_given_up(target):
    target.before = on("PUT", "/uploads/", lambda _: Response(503))
    source = Source()
    with opened(target, push=True) as store, pytest.raises(RegistryError, match="503"):
        store.push_blob(BLOB, source)
    assert len(source.opened) == 3
    assert source.all_closed


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_an_upload_that_is_refused_is_not_repeated(target, status):
    target.before = on("PUT", "/uploads/", lambda _: Response(status))
    with opened(target, push=True) as store, pytest.raises((RegistryError, DeniedError), match=str(status)):
        store.push_blob(BLOB, Source())
    # Where it may be that pieces are wanted, they are tried once.
    assert len(target.seen("PUT")) == (1 if status == 403 else 2)


def test_the_registry_must_have_stored_what_was_sent(target):
    target.before = on("PUT", "/uploads/", lambda _: Response(201, {"Docker-Content-Digest": str(Digest.of(b"other"))}))
    with opened(target, push=True) as store, pytest.raises(DigestMismatch):
        store.push_blob(BLOB, Source())


@pytest.mark.parametrize("step", ["POST", "PATCH"])
def test_an_upload_never_goes_to_another_host(target, step):
    target.auth = Basic("anna", "s3cr3t-pass")
    with ScriptedServer() as other:

        def elsewhere(request):
            answer = target.answer(request)
            return (
                spoil(answer, headers=answer.headers | {"Location": f"{other.url}/steal"})
                if answer.status == 202
                else answer
            )

        target.before = on(step, "/uploads/", elsewhere)
        with (
            opened(target, push=True, credentials=ANNA, upload_chunk=500_000) as store,
            pytest.raises(DeniedError, match="another host"),
        ):
            store.push_blob(BLOB, Source())
        assert other.seen() == []


def test_a_location_that_forgot_tls_stays_on_tls(tmp_path):
    tls = issue_tls(tmp_path / "tls")
    with SimulatedRegistry(tls=tls) as target:

        def plain(request):
            answer = target.answer(request)
            return spoil(answer, headers={"Location": f"http://{target.host}{answer.headers['Location']}"})

        target.before = on("POST", "/uploads/", plain)
        with opened(target, push=True, ca_file=tls.ca) as store:
            store.push_blob(BLOB, Source())
    assert target.blobs[str(BLOB.digest)] == CONTENT


def test_a_location_may_be_absolute_and_keeps_its_query(target):
    def absolute(request):
        answer = target.answer(request)
        return spoil(answer, headers={"Location": target.url + answer.headers["Location"] + "&x=%2Fy"})

    target.before = on("POST", "/uploads/", absolute)
    with opened(target, push=True) as store:
        store.push_blob(BLOB, Source())
    (put,) = target.seen("PUT")
    assert put.query == {"state": "0", "x": "/y", "digest": str(BLOB.digest)}


@pytest.mark.parametrize(
    ("data", "says"), [(CONTENT[:-1], "wrong size"), (CONTENT + b"x", "wrong size"), (b"", "wrong size")]
)
@pytest.mark.parametrize("piece", [None, 700_000])
def test_a_source_of_another_size_is_found_out(target, data, says, piece):
    source = Source(data)
    with opened(target, push=True, upload_chunk=piece) as store, pytest.raises(SizeMismatch, match=says):
        store.push_blob(BLOB, source)
    assert target.blobs == {}
    assert source.all_closed


def test_a_source_of_other_content_is_refused_by_the_registry(target):
    with opened(target, push=True) as store, pytest.raises(RegistryError, match="DIGEST_INVALID"):
        store.push_blob(BLOB, Source(b"x" * len(CONTENT)))


def test_a_request_that_is_too_large_is_sent_in_pieces(target):
    target.before = lambda r: Response(413) if r.method == "PUT" and r.body else None
    with opened(target, push=True) as store:
        store.push_blob(BLOB, Source())
    assert target.blobs[str(BLOB.digest)] == CONTENT
    assert len(target.seen("PATCH")) == 1


def test_a_registry_that_takes_no_size_is_given_up(target):
    target.before = lambda r: Response(413) if r.body else None
    with opened(target, push=True) as store, pytest.raises(RegistryError, match="413"):
        store.push_blob(BLOB, Source())


def test_pieces_are_at_least_as_large_as_the_registry_demands(target):
    def demanding(request):
        answer = target.answer(request)
        return spoil(answer, headers=answer.headers | {"OCI-Chunk-Min-Length": "900000"})

    target.before = on("POST", "/uploads/", demanding)
    with opened(target, push=True, upload_chunk=1000) as store:
        store.push_blob(BLOB, Source())
    assert [len(one.body) for one in target.seen("PATCH")] == [900_000, 900_000, 200_000]
    assert [one.headers["content-range"] for one in target.seen("PATCH")] == [
        "0-899999",
        "900000-1799999",
        "1800000-1999999",
    ]


@pytest.mark.parametrize("taken", [True, False])
def test_a_piece_without_an_answer_is_asked_about(target, taken):
    def lost(request):
        if taken:
            target.answer(request)
        return Response(hang_up=True)

    target.before = on("PATCH", "/uploads/", lost, times=1)
    with opened(target, push=True, upload_chunk=700_000) as store:
        store.push_blob(BLOB, Source())
    assert target.blobs[str(BLOB.digest)] == CONTENT
    assert len(target.seen("POST")) == 1
    assert len(target.seen("PATCH")) == 3 if taken else 4


def test_embedded_data_needs_no_request(target):
    blob = Descriptor.of("text/plain", b"hello", data=b"hello")
    with opened(target) as store:
        with store.open_blob(blob, 1, 4) as stream:
            assert (stream.start, stream.read(2), stream.read(9)) == (1, b"el", b"l")
        assert store.traffic.requests == 0


# -- referrers and tags --------------------------------------------------------------------------------------------------


def _attach(store, subject, number, kind="a/b"):
    manifest = empty_config_manifest((), artifact_type=kind, subject=subject, annotations={"n": str(number)})
    return store.push_manifest(manifest.to_bytes(), manifest.media_type)


def test_a_registry_that_keeps_referrers_gets_no_fallback_tag(registry):
    registry.page_size = 2
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        pushed = [_attach(store, subject, number, f"a/{number % 2}") for number in range(5)]

        assert {one.digest for one in store.referrers(subject.digest)} == {one.digest for one in pushed}
        assert len(store.referrers(subject.digest, "a/1")) == 2
    assert ("m", fallback_tag(subject.digest)) not in registry.tags


def test_what_others_wrote_into_the_fallback_tag_stays(registry):
    registry.referrers_api = False
    foreign = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"foreign"), 7, {"k": "v"}, extra={"future": 1})
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        index = Index((foreign,), annotations={"whole": "index"}, extra={"more": [1]})
        store.push_manifest(index.to_bytes(), index.media_type, fallback_tag(subject.digest))
        _attach(store, subject, 1)
        document = json.loads(store.manifest(fallback_tag(subject.digest)).data)
    assert document["manifests"][0] == foreign.to_json()
    assert len(document["manifests"]) == 2
    assert document["annotations"] == {"whole": "index"}
    assert document["more"] == [1]


def test_an_entry_that_another_publisher_undid_is_written_again(registry):
    registry.referrers_api = False
    undone: list[object] = []

    def before(request):
        if request.method == "PUT" and "/manifests/sha256-" in request.path and len(undone) < 2:
            undone.append(request)
            answer = registry.answer(request)
            empty = Index(())
            registry.add_manifest("m", empty.to_bytes(), empty.media_type, request.path.rpartition("/")[2])
            return answer
        return None

    registry.before = before
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        entry = _attach(store, subject, 1)
        assert [one.digest for one in store.referrers(subject.digest)] == [entry.digest]
    assert len(undone) == 2


def _stalled_write(registry, meanwhile, ending=None):
    """Let ``meanwhile`` happen while the first write of a fallback tag is on its way, then end that write.

    Args:
        registry: the simulator.
        meanwhile: what others do between the writer's read and its write.
        ending: an answer in place of the registry's own; the tag is written all the same.
    """
    stalled: list[object] = []

    def before(request):
        if request.method == "PUT" and "/manifests/sha256-" in request.path and not stalled:
            stalled.append(request)
            meanwhile()
            answer = registry.answer(request)
            return ending or answer
        return None

    registry.before = before
    return stalled


def _digests(store, subject):
    return {one.digest for one in store.referrers(subject.digest)}


def test_a_writer_stalled_between_read_and_write_loses_nobody(registry):
    registry.referrers_api = False
    others = []

    def meanwhile():
        # Two publishers of their own, each in a process of its own: nothing in memory is shared.
        for number in (2, 3):
            with opened(registry, push=True) as other:
                others.append(_attach(other, subject, number).digest)

    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        stalled = _stalled_write(registry, meanwhile)
        entry = _attach(store, subject, 1)
        assert len(stalled) == 1
        assert _digests(store, subject) == {entry.digest, *others}


def test_whom_a_writer_killed_after_a_late_write_lost_the_next_one_brings_back(registry):
    registry.referrers_api = False
    others = []

    def meanwhile():
        with opened(registry, push=True) as other:
            others.append(_attach(other, subject, 2).digest)

    with opened(registry, push=True, stall_seconds=30.0) as store:
        subject = store.manifest("1").descriptor
        _stalled_write(registry, meanwhile, ending=Response(403))
        with pytest.raises(DeniedError):
            _attach(store, subject, 1)
        registry.before = None
        last = _attach(store, subject, 3)
        assert {last.digest, *others} <= _digests(store, subject)


def test_a_list_of_tags_that_may_not_be_read_costs_no_referrer(registry):
    registry.referrers_api = False
    registry.before = on("GET", "/tags/", lambda _: Response(403))
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        pushed = {_attach(store, subject, number).digest for number in range(3)}
        assert _digests(store, subject) == pushed


def test_what_is_attached_leaves_the_fallback_tag_and_no_other(registry):
    registry.referrers_api = False
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        pushed = {_attach(store, subject, number).digest for number in range(3)}
        assert _digests(store, subject) == pushed
    assert {tag for _, tag in registry.tags} == {"1", fallback_tag(subject.digest)}


@pytest.mark.parametrize("stays", [True, False])
def test_a_registry_that_takes_the_fallback_tag_for_the_subject(registry, stays):
    # GitLab: oras-go issue 1396.
    registry.referrers_api = False

    def before(request):
        found = re.search(r"/manifests/sha256-([0-9a-f]{64})$", request.path)
        if found and request.method == "GET" and (stays or not registry.seen("PUT", "/manifests/sha256-")):
            return registry.answer(replace(request, path=request.path.replace("sha256-", "sha256:")))
        return None

    registry.before = before
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        assert store.referrers(subject.digest) == ()
        if stays:
            with pytest.raises(RegistryError, match="cannot list what is attached") as caught:
                _attach(store, subject, 1)
            assert "nothing can be attached" in (caught.value.hint or "")
        else:
            assert {_attach(store, subject, 1).digest} == _digests(store, subject)


def test_the_absence_of_the_api_is_remembered(registry):
    registry.referrers_api = False
    with opened(registry) as store:
        subject = store.manifest("1").descriptor
        for _ in range(3):
            assert store.referrers(subject.digest) == ()
    assert len(registry.seen("GET", "/referrers/")) == 1


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        *(Response(status) for status in (201, 204, 307, 400, 401, 403, 404, 405, 406, 410, 451, 500, 501, 502, 503)),
        Response(302, {"Location": "/login"}),
        Response(404, {"Content-Type": "text/html"}, b"<html>"),
        Response(200, {"Content-Type": "text/html"}, b"<html>"),
        Response(200, {"Content-Type": mediatype.OCI_INDEX}, b""),
        Response(200, {"Content-Type": mediatype.OCI_INDEX}, b"[]"),
        Response(200, {"Content-Type": mediatype.OCI_INDEX}, b'{"schemaVersion":2,"manifests":[{"digest":"x"}]}'),
        Response(200, {"Content-Type": mediatype.OCI_INDEX}, MANIFEST.to_bytes()),
        Response(200, {"Content-Type": mediatype.OCI_INDEX}, b"[" * (5 << 20)),
    ],
    ids=lambda answer: f"{answer.status}-{len(answer.body)}",
)
def test_any_answer_but_a_list_means_that_there_is_no_api(registry, answer, kept):
    registry.referrers_api = False
    registry.before = on("GET", "/referrers/", lambda _: answer)
    with opened(registry, push=True) as store:
        subject = store.manifest("1").descriptor
        if kept:
            assert {_attach(store, subject, 1).digest} == _digests(store, subject)
        else:
            assert store.referrers(subject.digest) == ()
        # Once, and without waiting for it to change its mind.
        store.referrers(subject.digest)
    assert len(registry.seen("GET", "/referrers/")) == 1


def test_an_api_that_wants_a_token_is_an_api(tmp_path):
    with SimulatedRegistry(auth=Bearer()) as registry:
        registry.add_manifest("m", MANIFEST.to_bytes(), MANIFEST.media_type, "1")
        registry.add_blob(b"{}")
        with opened(registry, push=True) as store:
            subject = store.manifest("1").descriptor
            entry = _attach(store, subject, 1)
            registry.tokens.clear()
            assert _digests(store, subject) == {entry.digest}
    assert not [tag for _, tag in registry.tags if tag.startswith("sha256-")]


@pytest.mark.parametrize("what", ["referrers", "tags"])
def test_lists_that_never_end_do(registry, what, monkeypatch):
    monkeypatch.setattr("haulout.registry.tags.MAX_PAGES", 20)

    def endless(request):
        answer = registry.answer(request)
        return spoil(answer, headers=answer.headers | {"Link": f'<{request.path}?again>; rel="next"'})

    registry.before = on("GET", f"/{what}/", endless)
    with opened(registry) as store, pytest.raises(RegistryError, match="pages"):
        list(store.tags()) if what == "tags" else store.referrers(BLOB.digest)
    assert len(registry.seen()) <= 64


@pytest.mark.parametrize("what", ["referrers", "tags"])
def test_lists_do_not_continue_elsewhere(registry, what):
    def elsewhere(request):
        answer = registry.answer(request)
        return spoil(answer, headers=answer.headers | {"Link": '<http://192.0.2.1/v2/>; rel="next"'})

    registry.before = on("GET", f"/{what}/", elsewhere)
    with opened(registry) as store, pytest.raises(RegistryError, match="another host"):
        list(store.tags()) if what == "tags" else store.referrers(BLOB.digest)


def test_tags_come_in_pages_and_from_just_before_the_prefix(registry):
    registry.page_size = 3
    for number in range(20):
        registry.add_manifest("m", MANIFEST.to_bytes(), MANIFEST.media_type, f"v{number:02}")
    with opened(registry) as store:
        assert list(store.tags()) == ["1", *(f"v{number:02}" for number in range(20))]
        before = store.traffic.requests
        assert list(store.tags("v19")) == ["v19"]
        assert store.traffic.requests - before <= 4


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"tags":5}', b'{"tags":[5]}', b"[" * 100_000])
def test_tags_that_are_none(registry, body):
    registry.before = on("GET", "/tags/", lambda _: Response(200, {}, body))
    with opened(registry) as store, pytest.raises(RegistryError):
        list(store.tags())


def test_no_tags_at_all(registry):
    registry.before = on("GET", "/tags/", lambda _: Response(200, {}, b'{"name":"m","tags":null}'))
    with opened(registry) as store:
        assert list(store.tags()) == []


def test_what_is_missing_is_missing(registry):
    with opened(registry) as store:
        with pytest.raises(NotFoundError):
            store.manifest("none")
        assert not store.has_blob(Descriptor.of("a/b", b"none"))


def test_a_blob_of_another_size_is_not_the_blob(registry):
    lying = Descriptor(BLOB.media_type, BLOB.digest, BLOB.size + 1)
    with opened(registry, push=True) as store, pytest.raises(SizeMismatch):
        store.push_blob(lying, Source())
