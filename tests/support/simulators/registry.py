"""An HTTP registry in this process: correct by default, and as wicked as a test wants.

Script it with ``before``, which sees every request first and may answer in the registry's place::

    def before(request):
        if request.method == "GET" and "/blobs/" in request.path:
            return Response(503, {"Retry-After": "0"})
        return None                      # answered correctly

    with SimulatedRegistry(before=before) as registry:
        digest = registry.add_blob(b"content")
        ...                              # registry.host is "127.0.0.1:PORT"
        assert len(registry.seen("GET", "/blobs/")) == 3

To spoil a right answer rather than replace it, take ``registry.answer(request)`` and change it: ``body``, ``headers``,
``cut`` (close the connection after so many body bytes), ``pause`` (seconds of silence before each of ``pieces`` bytes).
``Basic`` and ``Bearer`` switch authentication on. ``ScriptedServer`` alone is any HTTP server: a store behind a redirect,
a token service, a login page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import TlsFiles

EMPTY_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Request:
    """One request as received."""

    number: int
    """Counts from 0."""
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False, default=b"")

    @property
    def range(self) -> tuple[int, int] | None:
        """The range asked for: first byte and the one after the last."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else None


@dataclass(frozen=True)
class Response:
    """An answer; ``Content-Length`` is added unless a header says otherwise or is set to ""."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = field(repr=False, default=b"")
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    pause: float = 0.0
    """Seconds of silence before each piece of the body."""
    pieces: int = 64 * 1024
    """Bytes per piece."""
    header_pause: float = 0.0
    """Seconds of silence before the status line."""
    hang_up: bool = False
    """Close the connection without any answer."""


@dataclass(frozen=True)
class Basic:
    """Every request must carry this user and password."""

    user: str
    password: str


@dataclass(frozen=True)
class Bearer:
    """Every request must carry a token, which ``/token`` of the same server gives."""

    user: str | None = None
    """Who may have tokens; None: everybody."""
    password: str = ""
    identity_token: str = ""
    """Accepted in place of user and password."""
    realm: str = ""
    """Named in challenges in place of the server's own."""
    lifetime: int | None = 300
    field_name: str = "token"


class ScriptedServer:
    """An HTTP/1.1 server on loopback that answers as ``handle`` says."""

    def __init__(self, handle: Callable[[Request], Response] | None = None, *, tls: TlsFiles | None = None) -> None:
        if handle is not None:
            self.handle = handle  # type: ignore[assignment,method-assign]
        self.tls = tls
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        return Response(404)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def seen(self, method: str | None = None, contains: str = "") -> list[Request]:
        """The requests so far, by method and part of the path."""
        with self._lock:
            return [one for one in self.requests if method in {None, one.method} and contains in one.path]

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.hang_up_all()
        self._server.server_close()
        self._thread.join(10)

    def record(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Request:
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self._lock:
            request = Request(len(self.requests), method, parts.path, query, headers, body)
            self.requests.append(request)
        return request

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the test."""
        self._closing.wait(seconds)


class SimulatedRegistry(ScriptedServer):
    """The distribution API over memory."""

    def __init__(
        self,
        *,
        before: Callable[[Request], Response | None] | None = None,
        auth: Basic | Bearer | None = None,
        referrers_api: bool = True,
        ranges: bool = True,
        tls: TlsFiles | None = None,
        page_size: int = 1000,
    ) -> None:
        super().__init__(tls=tls)
        self.before = before
        self.auth = auth
        self.referrers_api = referrers_api
        self.ranges = ranges
        self.page_size = page_size
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        """By repository and digest: media type and bytes."""
        self.tags: dict[tuple[str, str], str] = {}
        """By repository and tag: digest."""
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, tuple[float, str]] = {}
        """Tokens given: when each ends (monotonic clock), and its scopes."""

    # -- content -----------------------------------------------------------------------------------------------------

    def add_blob(self, data: bytes) -> str:
        """Store a blob; returns its digest."""
        digest = _digest(data)
        self.blobs[digest] = data
        return digest

    def add_manifest(self, repository: str, data: bytes, media_type: str, tag: str | None = None) -> str:
        """Store a manifest; returns its digest."""
        digest = _digest(data)
        self.manifests[repository, digest] = (media_type, data)
        if tag is not None:
            self.tags[repository, tag] = digest
        return digest

    # -- answering ---------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        found = self.before(request) if self.before is not None else None
        return found if found is not None else self.answer(request)

    def answer(self, request: Request) -> Response:
        """Answer correctly."""
        if request.path == "/token" and isinstance(self.auth, Bearer):
            return self._token(request, self.auth)
        refused = self._refusal(request)
        if refused is not None:
            return refused
        if request.path == "/v2/":
            return Response(200, body=b"{}")
        for pattern, answer in (
            (r"/v2/(.+)/blobs/uploads/", self._begin_upload),
            (r"/v2/(.+)/blobs/uploads/(.+)", self._upload),
            (r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})", self._blob),
            (r"/v2/(.+)/manifests/(.+)", self._manifest),
            (r"/v2/(.+)/referrers/(.+)", self._referrers),
            (r"/v2/(.+)/tags/list", self._tags),
        ):
            found = re.fullmatch(pattern, request.path)
            if found:
                with self._lock:
                    return answer(request, *found.groups())
        return Response(404, {"Content-Type": "text/plain"}, b"404 page not found\n")

    def _refusal(self, request: Request) -> Response | None:
        sent = request.headers.get("authorization", "")
        if isinstance(self.auth, Basic):
            pair = f"{self.auth.user}:{self.auth.password}".encode()
            if sent != "Basic " + base64.b64encode(pair).decode():
                return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="simulated"'})
        if isinstance(self.auth, Bearer):
            found = re.match(r"/v2/(.+)/(?:blobs|manifests|tags|referrers)/", request.path)
            action = "pull" if request.method in {"GET", "HEAD"} else "pull,push"
            scope = f"repository:{found[1]}:{action}" if found else ""
            ends, scopes = self.tokens.get(sent.removeprefix("Bearer "), (0.0, ""))
            given = scopes.split()
            enough = not scope or scope in given or scope.replace(":pull", ":pull,push") in given
            if time.monotonic() >= ends or not enough:
                realm = self.auth.realm or f"{self.url}/token"
                challenge = f'Bearer realm="{realm}",service="simulated"' + (f',scope="{scope}"' if scope else "")
                if ends and not enough:
                    challenge += ',error="insufficient_scope"'
                return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return None

    def _token(self, request: Request, auth: Bearer) -> Response:
        if request.method == "POST":
            form = {key: values[-1] for key, values in parse_qs(request.body.decode()).items()}
            allowed = form.get("refresh_token") == auth.identity_token and bool(auth.identity_token)
            scopes = form.get("scope", "")
        else:
            sent = request.headers.get("authorization", "")
            pair = f"{auth.user}:{auth.password}".encode()
            allowed = auth.user is None or sent == "Basic " + base64.b64encode(pair).decode()
            scopes = request.query.get("scope", "")
        if not allowed:
            return _error(401, "UNAUTHORIZED")
        token = secrets.token_hex(16)
        self.tokens[token] = (time.monotonic() + (60 if auth.lifetime is None else auth.lifetime), scopes)
        document: dict[str, Any] = {auth.field_name: token}
        if auth.lifetime is not None:
            document["expires_in"] = auth.lifetime
        return Response(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _blob(self, request: Request, repository: str, digest: str) -> Response:
        data = self.blobs.get(digest)
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        wanted = request.range if self.ranges else None
        if wanted is None:
            return Response(200, headers, data)
        start, stop = wanted[0], min(wanted[1], len(data))
        if start >= len(data):
            return Response(416, {"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return Response(206, headers, data[start:stop])

    def _begin_upload(self, request: Request, repository: str) -> Response:
        mounted = request.query.get("mount")
        if mounted in self.blobs and "from" in request.query:
            return Response(201, {"Location": f"/v2/{repository}/blobs/{mounted}"})
        name = secrets.token_hex(8)
        self.uploads[name] = bytearray()
        return Response(202, {"Location": f"/v2/{repository}/blobs/uploads/{name}?state=0", "Range": "0-0"})

    def _upload(self, request: Request, repository: str, name: str) -> Response:
        held = self.uploads.get(name)
        if held is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        place = f"/v2/{repository}/blobs/uploads/{name}?state={len(held)}"
        where = {"Location": place, "Range": f"0-{max(len(held) - 1, 0)}"}
        if request.method == "GET":
            return Response(204, where)
        if request.method == "PATCH":
            begin = int(request.headers.get("content-range", f"{len(held)}-").partition("-")[0])
            if begin != len(held):
                return Response(416, where)
            held += request.body
            place = f"/v2/{repository}/blobs/uploads/{name}?state={len(held)}"
            return Response(202, {"Location": place, "Range": f"0-{len(held) - 1}"})
        if request.method != "PUT":
            return Response(405)
        data = bytes(held) + request.body
        digest = _digest(data)
        if digest != request.query.get("digest"):
            return _error(400, "DIGEST_INVALID")
        del self.uploads[name]
        self.blobs[digest] = data
        return Response(201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _manifest(self, request: Request, repository: str, selector: str) -> Response:
        if request.method == "PUT":
            digest = _digest(request.body)
            if selector.startswith("sha256:") and selector != digest:
                return _error(400, "DIGEST_INVALID")
            self.manifests[repository, digest] = (request.headers.get("content-type", ""), request.body)
            if not selector.startswith("sha256:"):
                self.tags[repository, selector] = digest
            headers = {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": digest}
            subject = json.loads(request.body).get("subject")
            if subject and self.referrers_api:
                headers["OCI-Subject"] = subject["digest"]
            return Response(201, headers)
        digest = self.tags.get((repository, selector), selector)
        found = self.manifests.get((repository, digest))
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            gone = [key for key, other in self.tags.items() if key == (repository, selector) or other == selector]
            for key in gone:
                del self.tags[key]
            if selector == digest:
                del self.manifests[repository, digest]
            return Response(202)
        media_type, data = found
        return Response(200, {"Content-Type": media_type, "Docker-Content-Digest": _digest(data)}, data)

    def _referrers(self, request: Request, repository: str, subject: str) -> Response:
        if not self.referrers_api:
            return Response(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        entries = []
        for (there, digest), (media_type, data) in sorted(self.manifests.items()):
            document = json.loads(data)
            if there != repository or (document.get("subject") or {}).get("digest") != subject:
                continue
            kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
            entry = {"mediaType": media_type, "digest": digest, "size": len(data), "artifactType": kind}
            entries.append(entry | ({"annotations": document["annotations"]} if "annotations" in document else {}))
        headers = {"Content-Type": EMPTY_INDEX_TYPE}
        entries, link = self._page(request, entries, f"/v2/{repository}/referrers/{subject}")
        index = {"schemaVersion": 2, "mediaType": EMPTY_INDEX_TYPE, "manifests": entries}
        return Response(200, headers | link, json.dumps(index).encode())

    def _tags(self, request: Request, repository: str) -> Response:
        names = sorted(tag for there, tag in self.tags if there == repository)
        if not names and not any(there == repository for there, _ in self.manifests):
            return _error(404, "NAME_UNKNOWN")
        names = [name for name in names if name > request.query.get("last", "")]
        size = min(self.page_size, int(request.query.get("n", self.page_size)))
        link = {}
        if len(names) > size:
            link = {"Link": f'</v2/{repository}/tags/list?n={size}&last={names[size - 1]}>; rel="next"'}
        document = {"name": repository, "tags": names[:size]}
        return Response(200, {"Content-Type": "application/json"} | link, json.dumps(document).encode())

    def _page(
        self, request: Request, entries: list[dict[str, Any]], path: str
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        begin = int(request.query.get("from", "0"))
        rest = entries[begin:]
        if len(rest) <= self.page_size:
            return rest, {}
        return rest[: self.page_size], {"Link": f'<{path}?from={begin + self.page_size}>; rel="next"'}


def spoil(response: Response, **changes: Any) -> Response:
    """Change a right answer."""
    return replace(response, **changes)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": f"simulated {code.lower()}"}]}).encode()
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def __init__(self, scripted: ScriptedServer) -> None:
        self.scripted = scripted
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._context: ssl.SSLContext | None = None
        if scripted.tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(scripted.tls.certificate, scripted.tls.key)
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        try:
            # A client that tries TLS first must not wait for a line that never ends.
            is_tls = request.recv(1, socket.MSG_PEEK) == b"\x16"
            if self._context is not None and is_tls:
                raw, request = request, self._context.wrap_socket(request, server_side=True)
                with self._guard:
                    self._open.discard(raw)
                    self._open.add(request)
            elif is_tls:
                return
            self.finish_request(request, client_address)
        except OSError:
            pass
        finally:
            with self._guard:
                self._open.discard(request)
            self.shutdown_request(request)

    def hang_up_all(self) -> None:
        with self._guard:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        scripted = self.server.scripted
        request = scripted.record(self.command, self.path, headers, body)
        response = scripted.handle(request)
        if response.header_pause:
            scripted.sleep(response.header_pause)
        if response.hang_up:
            self.close_connection = True
            return
        self.send_response_only(response.status)
        sent = {name.lower() for name in response.headers}
        for name, value in response.headers.items():
            if value:
                self.send_header(name, value)
        if "content-length" not in sent and "transfer-encoding" not in sent:
            self.send_header("Content-Length", str(len(response.body)))
        elif response.headers.get("Content-Length") == "":
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(response)

    def _send_body(self, response: Response) -> None:
        body = response.body if response.cut is None else response.body[: response.cut]
        for begin in range(0, len(body), response.pieces):
            if response.pause:
                self.wfile.flush()
                self.server.scripted.sleep(response.pause)
            self.wfile.write(body[begin : begin + response.pieces])
        self.wfile.flush()
        if response.cut is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer_any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass
