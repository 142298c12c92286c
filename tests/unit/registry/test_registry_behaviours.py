"""How real registries differ from the specification, each as the report of somebody who met it."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager

import pytest
from tests.support.simulators.registry import Basic, Bearer, Response, ScriptedServer, SimulatedRegistry

from haulout.errors import DeniedError, HauloutError, NotFoundError, RegistryError
from haulout.http import Origin
from haulout.oci import Descriptor, RegistryReference, empty_config_manifest, mediatype, parse_reference
from haulout.registry import ConnectionOptions, Credentials, Registries
from haulout.registry.auth.bearer import check_realm

CONTENT = bytes(range(256)) * 1000
BLOB = Descriptor.of(mediatype.OCTETS, CONTENT)
MANIFEST = empty_config_manifest((BLOB,), artifact_type="application/x.test")
ANNA = Credentials("anna", "s3cr3t-pass")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr("haulout.http.attempts.FIRST_WAIT", 0.001)


@contextmanager
def opened(server, *, push=False, notes=None, repository="m", **options):
    reference = parse_reference(f"{server.host}/{repository}:1")
    assert isinstance(reference, RegistryReference)
    note = None if notes is None else notes.append
    made = ConnectionOptions(**{"attempts": 2, "stall_seconds": 5.0, **options})
    with Registries(made, environment={"HOME": "/nonexistent"}, note=note) as registries:
        yield registries.repository(reference, push=push)


def filled(**arguments):
    server = SimulatedRegistry(**arguments)
    server.add_blob(CONTENT)
    server.add_manifest("m", MANIFEST.to_bytes(), MANIFEST.media_type, "1")
    return server


def error(status, code="X", message="", **headers):
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(status, {"Content-Type": "application/json", **headers}, body)


# -- challenges only at the root: containerd issue 3291, vic issue 6831 ----------------------------------------------


def hiding(status, auth):
    """Answer everybody who has no credentials with ``status``, and challenge at /v2/ only."""
    server = filled(auth=auth)

    def before(request):
        answer = server.answer(request)
        is_open = answer.status != 401 or request.path in {"/v2/", "/token"}
        return answer if is_open else error(status, "NAME_UNKNOWN")

    server.before = before
    return server


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("auth", [Basic("anna", "s3cr3t-pass"), Bearer("anna", "s3cr3t-pass")], ids=["basic", "bearer"])
def test_a_challenge_that_only_the_root_makes_is_answered(status, auth):
    with hiding(status, auth) as server:
        with opened(server, credentials=ANNA) as store:
            assert (
                store.manifest("1").descriptor.digest == Descriptor.of(MANIFEST.media_type, MANIFEST.to_bytes()).digest
            )
            with store.open_blob(BLOB) as stream:
                assert stream.read(BLOB.size) == CONTENT
        with opened(server, credentials=ANNA, push=True) as store:
            store.push_blob(Descriptor.of(mediatype.OCTETS, b"new"), lambda: io.BytesIO(b"new"))
            store.push_manifest(MANIFEST.to_bytes(), MANIFEST.media_type, "2")
        assert len(server.seen("GET", "/v2/")) >= 2


def test_the_root_is_asked_once():
    with hiding(403, Basic("bert", "x")) as server, opened(server, credentials=ANNA) as store:
        for _ in range(3):
            with pytest.raises(HauloutError):
                store.manifest("1")
        assert [one.path for one in server.requests].count("/v2/") <= 3


def test_a_stranger_is_not_sent_to_the_root_by_what_is_not_there():
    with filled() as server, opened(server) as store:
        with pytest.raises(NotFoundError):
            store.manifest("nothing")
        assert [one.path for one in server.requests] == ["/v2/m/manifests/nothing"]


# -- a tag that does not exist and may not be read: cosign issue 2973 ------------------------------------------------


def secretive(status, code, tags):
    server = filled()

    def before(request):
        if request.method in {"GET", "HEAD"} and "/manifests/" in request.path:
            answer = server.answer(request)
            return error(status, code) if answer.status == 404 else None
        if request.path.endswith("/tags/list") and tags is not None:
            return error(tags, "DENIED")
        return None

    server.before = before
    return server


@pytest.mark.parametrize("tags", [None, 401, 403, 404, 405, 429, 500])
@pytest.mark.parametrize("status", [401, 403])
def test_to_a_push_a_tag_that_may_not_be_read_and_is_not_listed_does_not_exist(status, tags):
    notes: list[str] = []
    with secretive(status, "DENIED", tags) as server, opened(server, push=True, notes=notes) as store:
        with pytest.raises(NotFoundError):
            store.manifest("2")
        assert len(server.seen(contains="/tags/list")) == 1
        assert bool(notes) == (tags not in {None, 404})


def test_to_a_push_a_tag_that_is_listed_and_may_not_be_read_is_an_error():
    with filled() as server, opened(server, push=True) as store:
        server.before = lambda request: error(403, "DENIED") if "/manifests/" in request.path else None
        with pytest.raises(DeniedError):
            store.manifest("1")


def test_a_reader_is_told_what_the_registry_says():
    with secretive(403, "DENIED", None) as server, opened(server) as store, pytest.raises(DeniedError):
        store.manifest("2")


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])
def test_the_code_of_an_error_counts_more_than_its_status(code):
    with secretive(403, code, None) as server, opened(server) as store, pytest.raises(NotFoundError):
        store.manifest("2")


@pytest.mark.parametrize("status", [400, 401, 403, 405, 429, 500, 501])
def test_a_refused_question_for_a_blob_does_not_prevent_sending_it(status):
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        server.before = lambda request: Response(status) if request.method == "HEAD" else None
        store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))
        assert server.blobs[str(BLOB.digest)] == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_to_a_push_a_list_of_tags_is_worth_one_try(status):
    with filled() as server:
        server.before = lambda request: Response(status, {"Retry-After": "30"}) if "tags/list" in request.path else None
        with opened(server, push=True, attempts=5) as store, pytest.raises(RegistryError):
            list(store.tags())
        assert len(server.requests) == 1


# -- token services that redirect: ggcr issue 2291 -------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "credentials", [None, ANNA, Credentials("", identity_token="r3fresh")], ids=["nobody", "password", "identity token"]
)
def test_a_token_service_may_redirect_on_its_own_host(status, credentials):
    auth = Bearer("anna" if credentials else None, "s3cr3t-pass", identity_token="r3fresh")
    with filled(auth=auth) as server:
        auth_server = server.url

        def before(request):
            if request.path == "/moved":
                return Response(
                    status,
                    {"Location": f"{auth_server}/token?" + "&".join(f"{k}={v}" for k, v in request.query.items())},
                )
            return None

        server.before = before
        object.__setattr__(auth, "realm", f"{auth_server}/moved")
        with opened(server, credentials=credentials) as store:
            assert store.manifest("1")


def test_credentials_do_not_follow_a_token_service_to_another_host():
    seen = []

    def steal(request):
        seen.append(request)
        return Response(200, {"Content-Type": "application/json"}, b'{"token": "x"}')

    auth = Bearer("anna", "s3cr3t-pass")
    with ScriptedServer(steal) as thief, filled(auth=auth) as server:
        elsewhere = thief.url.replace("127.0.0.1", "localhost")
        server.before = lambda request: (
            Response(307, {"Location": f"{elsewhere}/t"}) if request.path == "/token" else None
        )
        with opened(server, credentials=ANNA) as store, pytest.raises(DeniedError) as refused:
            store.manifest("1")
        assert not seen
        assert f"use --allow-host {elsewhere.removeprefix('http://')}" in str(refused.value.hint)
        # Without credentials there is nothing to steal.
        with opened(server) as store, pytest.raises(HauloutError):
            store.manifest("1")
        assert [one.headers.get("authorization") for one in seen] == [None] * len(seen) != []


# -- a token service without TLS on another host: docker-gitlab issue 754 --------------------------------------------

PLAIN = Origin("http", "registry.lan", 5000)


def test_without_credentials_a_plain_registry_may_have_its_token_service_anywhere():
    assert check_realm("http://8.8.8.8:81/jwt", PLAIN, secret=False).host == "8.8.8.8"


def test_with_credentials_the_user_must_name_the_host():
    with pytest.raises(DeniedError) as error:
        check_realm("http://gitlab.lan:81/jwt", PLAIN)
    assert error.value.hint == "if gitlab.lan:81 is to be trusted, use --allow-host gitlab.lan:81"
    for allowed in "gitlab.lan:81", "gitlab.lan":
        assert check_realm("http://gitlab.lan:81/jwt", PLAIN, (allowed,)).host == "gitlab.lan"
    with pytest.raises(DeniedError):
        check_realm("http://gitlab.lan:81/jwt", PLAIN, ("gitlab.lan:82", "lan"))


def test_a_registry_with_tls_never_leads_anybody_away_from_it():
    with pytest.raises(DeniedError):
        check_realm("http://auth.example/jwt", Origin("https", "registry.example", 443), secret=False)


# -- registries that take pieces only: pulp_container issue 1274 -----------------------------------------------------


@pytest.mark.parametrize("status", [400, 405, 411, 415, 501])
def test_a_registry_that_takes_pieces_only_gets_pieces_from_then_on(status):
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        server.before = lambda request: (
            error(status, "BLOB_UPLOAD_INVALID") if request.method == "PUT" and request.body else None
        )
        store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))
        assert len(server.seen("PUT")) == 2
        other = Descriptor.of(mediatype.OCTETS, b"other")
        store.push_blob(other, lambda: io.BytesIO(b"other"))
        assert len(server.seen("PUT")) == 3
        assert {str(BLOB.digest), str(other.digest)} <= set(server.blobs)


def test_a_wrong_digest_is_not_sent_again():
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        server.before = lambda request: error(400, "DIGEST_INVALID") if request.method == "PUT" else None
        with pytest.raises(RegistryError, match="DIGEST_INVALID"):
            store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))
        assert len(server.seen("PUT")) == 1


@pytest.mark.parametrize("mount_from", [None, "elsewhere", "team/disk"])
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_an_upload_may_begin_with_any_success(status, mount_from):
    with SimulatedRegistry() as server, opened(server, push=True) as store:

        def before(request):
            if request.method != "POST":
                return None
            return Response(status, server.answer(request).headers)

        server.before = before
        assert store.push_blob(BLOB, lambda: io.BytesIO(CONTENT), mount_from=mount_from)
        assert server.blobs[str(BLOB.digest)] == CONTENT


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_piece_may_be_taken_with_any_success_and_without_a_new_place(status):
    with SimulatedRegistry() as server, opened(server, push=True, upload_chunk=100_000) as store:

        def before(request):
            if request.method != "PATCH":
                return None
            server.answer(request)
            return Response(status)

        server.before = before
        store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))
        assert server.blobs[str(BLOB.digest)] == CONTENT


# -- limits of rate: GitHub answers 403 --------------------------------------------------------------------------------

LIMITED = b'{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}'


@pytest.mark.parametrize(
    "answer",
    [
        Response(403, {}, LIMITED),
        Response(403, {"Retry-After": "0"}),
        Response(403, {"X-RateLimit-Remaining": "0"}),
        error(403, "TOOMANYREQUESTS"),
        Response(429),
        *(Response(status) for status in (500, 502, 503, 504, 520, 521, 522, 523, 524)),
    ],
    ids=lambda answer: f"{answer.status}",
)
@pytest.mark.parametrize(
    "step", ["GET /blobs/", "GET /manifests/", "PUT /manifests/", "PUT /uploads/", "POST /uploads/"]
)
def test_what_passes_is_waited_for(answer, step):
    method, _, path = step.partition(" ")
    left = [answer]
    with filled() as server, opened(server, push="GET" not in step) as store:
        server.before = lambda request: (
            left.pop() if left and request.method == method and path in request.path else None
        )
        if path == "/blobs/":
            with store.open_blob(BLOB) as stream:
                assert stream.read(BLOB.size) == CONTENT
        elif method == "GET":
            assert store.manifest("1")
        elif path == "/uploads/":
            store.push_blob(Descriptor.of(mediatype.OCTETS, b"new"), lambda: io.BytesIO(b"new"))
        else:
            store.push_manifest(MANIFEST.to_bytes(), MANIFEST.media_type, "2")
    assert not left


def test_a_limit_that_lasts_is_not_called_a_refusal():
    with filled() as server, opened(server) as store:
        server.before = lambda _: Response(403, {"Content-Type": "application/json"}, LIMITED)
        with pytest.raises(RegistryError) as error:
            store.manifest("1")
        assert "secondary rate limit" in str(error.value)
        assert error.value.hint == "it limits requests per client; try again later"


# -- who is to blame for a redirect ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_what_a_redirect_leads_to_is_not_what_the_user_chose(status, what):
    with ScriptedServer(lambda _: Response(status)) as cdn, filled() as server, opened(server) as store:
        there = cdn.host.replace("127.0.0.1", "localhost")
        server.before = lambda _: Response(307, {"Location": f"http://{there}/x?sig=SECRET"})
        with pytest.raises(HauloutError) as error:
            store.manifest("1") if what == "manifest" else store.open_blob(BLOB)
    text = f"{error.value} {error.value.hint}"
    assert f"{server.host} redirects to {there}, which answers {status}" in text
    assert "haulout login" not in text
    assert "SECRET" not in text


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_manifest_may_be_taken_with_any_success(status):
    with filled() as server, opened(server, push=True) as store:

        def before(request):
            return Response(status, server.answer(request).headers) if request.method == "PUT" else None

        server.before = before
        store.push_manifest(MANIFEST.to_bytes(), MANIFEST.media_type, "2")
        assert store.manifest("2")


@pytest.mark.parametrize("answer", [Response(403), Response(404), Response(500), Response(429), Response(hang_up=True)])
def test_a_mount_is_worth_one_try(answer):
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        server.before = lambda request: answer if "mount" in request.query else None
        store.push_blob(BLOB, lambda: io.BytesIO(CONTENT), mount_from="elsewhere")
        assert server.blobs[str(BLOB.digest)] == CONTENT
        assert len([one for one in server.requests if "mount" in one.query]) == 1


def test_an_upload_without_a_place_is_called_one():
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        server.before = lambda request: Response(202) if request.method == "POST" else None
        with pytest.raises(RegistryError, match="does not say where to send the upload"):
            store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))


@pytest.mark.parametrize("place", ["/v2/{repository}/blobs/{digest}", "/blobs/{encoded}", "/elsewhere", None])
@pytest.mark.parametrize("repository", ["m", "team/uploads"])
def test_a_blob_that_a_registry_mounted_is_not_sent_whatever_place_it_states(place, repository):
    with filled() as server, opened(server, push=True, repository=repository) as store:
        names = {"repository": repository, "digest": BLOB.digest, "encoded": str(BLOB.digest).replace(":", "%3A")}
        headers = {} if place is None else {"Location": place.format(**names)}
        server.before = lambda request: Response(201, headers) if "mount" in request.query else None
        assert not store.push_blob(BLOB, lambda: io.BytesIO(CONTENT), mount_from="m")
        assert not server.seen("PUT")


@pytest.mark.parametrize(
    ("mount_from", "place"),
    [("team/disk", "/elsewhere"), ("team/disk", None), ("m", "/elsewhere"), ("m", f"/v2/m/blobs/{BLOB.digest}")],
)
def test_a_mount_that_a_registry_only_claims_is_no_mount(mount_from, place):
    with SimulatedRegistry() as server, opened(server, push=True) as store:
        headers = {} if place is None else {"Location": place}
        server.before = lambda request: Response(201, headers) if "mount" in request.query else None
        assert store.push_blob(BLOB, lambda: io.BytesIO(CONTENT), mount_from=mount_from)
        assert server.blobs[str(BLOB.digest)] == CONTENT


def test_what_is_not_there_needs_no_readable_credentials(tmp_path):
    (tmp_path / "auth.json").write_text("{")
    with filled() as server:
        reference = parse_reference(f"{server.host}/m:1")
        assert isinstance(reference, RegistryReference)
        environment = {"HOME": "/nonexistent", "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
        with Registries(environment=environment) as registries, pytest.raises(NotFoundError):
            registries.repository(reference).manifest("nothing")
