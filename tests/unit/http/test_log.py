"""The request log shows what was sent and answered, and never a secret."""

from __future__ import annotations

import base64
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.simulators.registry import Basic, Bearer, Response, ScriptedServer, SimulatedRegistry

from haulout.errors import DeniedError, RegistryError, UnreachableError
from haulout.http import Client, HttpOptions
from haulout.http.log import shown_header, shown_url
from haulout.oci import Descriptor, RegistryReference, empty_config_manifest, mediatype, parse_reference
from haulout.registry import ConnectionOptions, Credentials, Registries, login

PASSWORD = "s3cr3t-pass"
REFRESH = "r3fr3sh-t0ken"
SIGNATURE = "5ign4ture"
COOKIE = "c00kie-value"
CONTENT = b"content" * 1000
BLOB = Descriptor.of(mediatype.OCTETS, CONTENT)
MANIFEST = empty_config_manifest((BLOB,), artifact_type="application/x.test")


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG, logger="haulout.http")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "haulout.http"]


def _registry(auth):
    registry = SimulatedRegistry(auth=auth)
    registry.add_blob(CONTENT)
    registry.add_manifest("m", MANIFEST.to_bytes(), MANIFEST.media_type, "1")
    return registry


def _pull(host, credentials):
    reference = parse_reference(f"{host}/m:1")
    assert isinstance(reference, RegistryReference)
    options = ConnectionOptions(credentials=credentials, attempts=2)
    with Registries(options, environment={"HOME": "/nonexistent"}) as registries:
        repository = registries.repository(reference)
        repository.manifest("1")
        with repository.open_blob(BLOB) as stream:
            assert stream.read(BLOB.size) == CONTENT


def test_each_request_is_a_line_with_its_headers(lines):
    answers = [Response(503, {"Retry-After": "0"}), Response(200, {"X-Secret": "hidden"}, b"12345")]
    with ScriptedServer(lambda request: answers[min(request.number, 1)]) as server:
        with Client(environment={}) as client:
            client.post_json(f"{server.url}/register?n=1", b"{}", what="x")
            client.post_json(f"{server.url}/register?n=1", b"{}", what="x")
        host = server.host
    requests = [line for line in lines() if " POST " in line]
    assert len(requests) == 3
    assert f"POST http://{host}/register?n=1: 503, sent 2 bytes, received 0 bytes, " in requests[0]
    assert requests[0].endswith(" s, attempt 1, new connection")
    assert ": 200, sent 2 bytes, received 5 bytes, " in requests[1]
    assert ", attempt 2, " in requests[1]
    assert requests[2].endswith(", attempt 1, reused connection")
    number = requests[1].partition(" ")[0]
    assert f"{number} > Content-Type: application/json" in lines()
    assert f"{number} < Content-Length: 5" in lines()
    assert f"{number} < X-Secret: ***" in lines()


def test_a_request_without_an_answer_is_a_line_too(lines):
    with (
        ScriptedServer(lambda _: Response(hang_up=True)) as server,
        Client(HttpOptions(attempts=1)) as client,
        pytest.raises(UnreachableError, match="broke"),
    ):
        client.post_json(f"{server.url}/x?token=SECRET", b"{}", what="x")
    (line,) = [line for line in lines() if " POST " in line]
    assert "/x?token=***: no answer (RemoteDisconnected), sent 2 bytes" in line


def test_nothing_is_measured_where_nobody_reads(caplog):
    caplog.set_level(logging.INFO, logger="haulout.http")
    with ScriptedServer(lambda _: Response(200, body=b"ok")) as server, Client() as client:
        client.post_json(server.url, b"{}", what="x")
    assert not caplog.records


def test_a_password_is_never_shown(lines):
    with _registry(Basic("anna", PASSWORD)) as registry:
        _pull(registry.host, Credentials("anna", PASSWORD))
        with pytest.raises(DeniedError):
            login(registry.host, "anna", PASSWORD + "x", environment={"HOME": "/nonexistent"})
    encoded = base64.b64encode(f"anna:{PASSWORD}".encode()).decode()
    text = "\n".join(lines())
    assert "> Authorization: Basic ***" in text
    assert "< WWW-Authenticate: Basic realm=" in text
    assert PASSWORD not in text
    assert encoded[:12] not in text


@pytest.mark.parametrize("identity", ["", REFRESH])
def test_a_token_is_never_shown(lines, identity):
    with _registry(Bearer("anna", PASSWORD, identity)) as registry:
        _pull(registry.host, Credentials("anna", PASSWORD, identity))
        tokens = list(registry.tokens)
    text = "\n".join(lines())
    assert "/token" in text
    assert "> Authorization: Bearer ***" in text
    assert identity or "scope=repository:m:pull" in text.replace("%3A", ":")
    assert tokens
    for secret in (*tokens, PASSWORD, REFRESH, "anna", "access_token"):
        assert secret not in text


def test_a_signed_url_is_shown_without_its_signature(lines):
    def store(_):
        return Response(200, {"Set-Cookie": f"a={COOKIE}", "X-Amz-Security-Token": COOKIE}, CONTENT)

    with ScriptedServer(store) as other, _registry(None) as registry:
        signed = f"{other.url}/bucket/blob?X-Amz-Credential={SIGNATURE}&X-Amz-Signature={SIGNATURE}&{SIGNATURE}"
        registry.before = lambda request: (
            Response(307, {"Location": signed, "Link": f'<{signed}>; rel="x"'}) if "/blobs/" in request.path else None
        )
        _pull(registry.host, None)
    text = "\n".join(lines())
    shown = "/bucket/blob?X-Amz-Credential=***&X-Amz-Signature=***&***"
    assert f"GET {other.url}{shown}: 200" in text
    assert f"< Location: {other.url}{shown}" in text
    assert SIGNATURE not in text
    assert COOKIE not in text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", "Bearer abc", "Bearer ***"),
        ("authorization", "abc def", "***"),
        ("Proxy-Authorization", "Basic abc", "Basic ***"),
        ("Cookie", "a=b", "***"),
        ("Set-Cookie", "a=b", "***"),
        ("X-Registry-Auth", "abc", "***"),
        ("Content-Type", "a/b\x1b[31m", "a/b [31m"),
        ("Location", "/v2/x?_state=abc&digest=sha256:1", "/v2/x?_state=***&digest=sha256:1"),
        ("Location", "https://anna:pw@h/x#frag", "https://h/x"),
        ("Link", '</v2/x?last=b&n=1&key=abc>; rel="next"', "</v2/x?last=b&n=1&***>"),
        ("WWW-Authenticate", 'Bearer realm="https://h/t?k=abc",scope="a"', 'Bearer realm="https://h/t?***",scope="a"'),
        ("WWW-Authenticate", "Negotiate dG9rZW4=", "Negotiate"),
        ("WWW-Authenticate", "abc", "***"),
    ],
)
def test_headers_are_blanked(name, value, shown):
    assert shown_header(name, value) == shown


@given(st.text(max_size=200))
def test_any_url_and_header_is_shown_on_one_line(text):
    assert shown_url(text).isprintable()
    for name in ("location", "link", "www-authenticate", "server", "authorization", text):
        assert shown_header(name, text).isprintable()


@given(st.text("abcdef0123456789", min_size=8, max_size=40), st.sampled_from(["sig", "password", "access_token", "x"]))
def test_no_query_is_shown_but_what_is_known(secret, name):
    for url in (f"https://h/p?{name}={secret}", f"https://h/p?{secret}", f"https://h/p?a=b&{secret}=#{secret}"):
        assert secret not in shown_url(url)


def test_the_documented_token_answer_is_not_quoted_in_an_error(lines):
    secret = json.dumps({"token": f"bad {SIGNATURE}\n"}).encode()
    with _registry(Bearer()) as registry:
        registry.before = lambda request: Response(200, body=secret) if request.path == "/token" else None
        with pytest.raises(RegistryError, match="without a usable token") as caught:
            _pull(registry.host, None)
    assert SIGNATURE not in str(caught.value) + "\n".join(lines())
