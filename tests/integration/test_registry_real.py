"""The registry room against Debian's docker-registry and nginx, for real."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.servers import docker_registry, find, issue_tls, needs, nginx

from haulout.errors import DeletionRefused, DeniedError, InvalidManifest, NotFoundError, RegistryError, UnreachableError
from haulout.oci import (
    EMPTY,
    Descriptor,
    Index,
    RegistryReference,
    empty_config_manifest,
    fallback_tag,
    mediatype,
    parse_reference,
)
from haulout.registry import ConnectionOptions, Credentials, Registries, login, logout
from haulout.registry.auth.credentials import find_credentials

if TYPE_CHECKING:
    from haulout.content.ports import Store

pytestmark = [pytest.mark.tools, needs("docker-registry", "htpasswd")]
CONTENT = os.urandom(3_000_000)
BLOB = Descriptor.of(mediatype.OCTETS, CONTENT)


def _reference(host: str, name: str = "machines/test", tag: str = "1") -> RegistryReference:
    found = parse_reference(f"{host}/{name}:{tag}")
    assert isinstance(found, RegistryReference)
    return found


def _environment(tmp_path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}


def _publish(store: Store, tag: str = "1", **manifest: object) -> Descriptor:
    store.push_blob(BLOB, lambda: io.BytesIO(CONTENT))
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    document = empty_config_manifest((BLOB,), artifact_type="application/x.test", **manifest)  # type: ignore[arg-type]
    return store.push_manifest(document.to_bytes(), document.media_type, tag)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.mark.parametrize("auth", [None, ("anna", "s:ecret")])
@pytest.mark.parametrize("tls", [False, True])
def test_everything_comes_back_as_it_was_pushed(tmp_path, auth, tls):
    with docker_registry(tmp_path, auth=auth, tls=tls) as server:
        environment = _environment(tmp_path)
        if server.tls is not None:
            folder = tmp_path / f"home/.config/containers/certs.d/{server.host}"
            folder.mkdir(parents=True)
            (folder / "ca.crt").write_bytes(server.tls.ca.read_bytes())
        options = ConnectionOptions(credentials=Credentials(*auth) if auth else None)
        with Registries(options, environment=environment) as registries:
            pushing: Store = registries.repository(_reference(server.host), push=True)
            pushed = _publish(pushing)
            with registries.repository(_reference(server.host)) as pulling:
                stored = pulling.manifest("1")
                assert stored.descriptor == pushed
                assert pulling.manifest(pushed.digest) == stored
                with pulling.open_blob(BLOB) as stream:
                    assert (stream.start, stream.stop) == (0, BLOB.size)
                    assert stream.read(BLOB.size) == CONTENT
                    assert stream.read(1) == b""
                with pulling.open_blob(BLOB, 1000, 2_000_001) as stream:
                    assert stream.start == 1000
                    parts = iter(lambda: stream.read(65_536), b"")
                    assert b"".join(parts) == CONTENT[1000:2_000_001]
                assert list(pulling.tags()) == ["1"]
                assert pulling.traffic.received == len(stored.data) * 2 + BLOB.size + 1_999_001 + len(
                    json.dumps({"name": "machines/test", "tags": ["1"]}, separators=(",", ":")) + "\n"
                )
            answered = [one for one in server.accesses() if one.path.startswith("/v2/")]
            assert pushing.traffic.requests + pulling.traffic.requests == len(answered)


def test_pushing_again_sends_nothing(plain):
    with Registries() as registries:
        _publish(registries.repository(_reference(plain.host, "again"), push=True))
        again = registries.repository(_reference(plain.host, "again"), push=True)
        told: list[int] = []
        again.push_blob(BLOB, _must_not_open, _Recorder(told))

        assert again.traffic.sent == 0
        assert again.traffic.requests == 1
        assert sum(told) == BLOB.size


def _must_not_open():
    raise AssertionError("opened although the blob is there")


class _Recorder:
    def __init__(self, told: list[int]) -> None:
        self.told = told

    def advance(self, amount: int) -> None:
        self.told.append(amount)

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def test_mounting_from_another_repository_sends_nothing(plain):
    with Registries() as registries:
        _publish(registries.repository(_reference(plain.host, "mount/from"), push=True))
        to = registries.repository(_reference(plain.host, "mount/to"), push=True)
        to.push_blob(BLOB, _must_not_open, mount_from="mount/from")

        assert to.has_blob(BLOB)
        assert to.traffic.sent == 0


@pytest.mark.parametrize("piece", [500_000, 3_000_000, 64_000_000])
def test_uploads_in_pieces(plain, piece):
    data = os.urandom(1_234_567)
    blob = Descriptor.of(mediatype.OCTETS, data)
    with Registries(ConnectionOptions(upload_chunk=piece)) as registries:
        store = registries.repository(_reference(plain.host, "pieces"), push=True)
        store.push_blob(blob, lambda: io.BytesIO(data))

        with store.open_blob(blob) as stream:
            assert stream.read(blob.size) == data
        assert store.traffic.requests == 4 + -(-len(data) // piece)


def test_ingests_what_has_no_digest_yet(plain):
    told: list[int] = []
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "ingest"), push=True)
        with store.ingest() as blob:
            for start in range(0, len(CONTENT), 100_000):
                blob.write(memoryview(CONTENT)[start : start + 100_000])
            assert blob.commit(BLOB.media_type, _Recorder(told)) == BLOB
        with store.ingest() as forgotten:
            forgotten.write(b"never committed")

        assert store.has_blob(BLOB)
        assert sum(told) == BLOB.size


def test_an_empty_blob_passes(plain):
    empty = Descriptor.of(mediatype.OCTETS, b"")
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "empty"), push=True)
        with store.ingest() as blob:
            assert blob.commit(mediatype.OCTETS) == empty
        with store.open_blob(empty) as stream:
            assert stream.read(10) == b""


def test_referrers_live_under_the_fallback_tag(plain):
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "referrers"), push=True)
        subject = _publish(store)
        assert store.referrers(subject.digest) == ()
        entries = []
        for number, kind in enumerate(("a/b", "c/d", "c/d")):
            manifest = empty_config_manifest(
                (), artifact_type=kind, subject=subject, annotations={"number": str(number)}
            )
            entries += [store.push_manifest(manifest.to_bytes(), manifest.media_type) for _ in range(2)]
        found = store.referrers(subject.digest)

        assert [one.digest for one in found] == [one.digest for one in entries[::2]]
        assert [one.artifact_type for one in found] == ["a/b", "c/d", "c/d"]
        assert [dict(one.annotations) for one in found] == [{"number": "0"}, {"number": "1"}, {"number": "2"}]
        assert len(store.referrers(subject.digest, "c/d")) == 2
        assert list(store.tags("sha256-")) == [fallback_tag(subject.digest)]


def test_a_fallback_tag_that_is_no_index_is_left_alone(plain):
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "occupied"), push=True)
        subject = _publish(store)
        occupied = _publish(store, fallback_tag(subject.digest), annotations={"another": "one"})
        manifest = empty_config_manifest((), artifact_type="a/b", subject=subject)

        with pytest.raises(InvalidManifest, match="something else"):
            store.push_manifest(manifest.to_bytes(), manifest.media_type)
        assert store.manifest(fallback_tag(subject.digest)).descriptor == occupied
        assert store.referrers(subject.digest) == ()


def test_publishers_that_know_nothing_of_each_other_lose_no_referrer(plain):
    with Registries() as registries:
        subject = _publish(registries.repository(_reference(plain.host, "race"), push=True))
    failures: list[BaseException] = []

    def attach(number: int) -> None:
        try:
            # A client each, as different machines would have.
            with Registries() as own:
                manifest = empty_config_manifest(
                    (), artifact_type="a/b", subject=subject, annotations={"n": str(number)}
                )
                own.repository(_reference(plain.host, "race"), push=True).push_manifest(
                    manifest.to_bytes(), manifest.media_type
                )
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with Registries() as registries:
        found = registries.repository(_reference(plain.host, "race")).referrers(subject.digest)
        assert sorted(one.annotations["n"] for one in found) == [str(number) for number in range(6)]


def test_tags_are_listed_by_prefix(plain):
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "tags"), push=True)
        for tag in ("5.0", "5.1", "5", "next", "50"):
            _publish(store, tag)

        assert sorted(store.tags()) == ["5", "5.0", "5.1", "50", "next"]
        assert sorted(store.tags("5.")) == ["5.0", "5.1"]
        assert sorted(store.tags("n")) == ["next"]
        assert list(store.tags("sha256-")) == []


def test_what_is_not_there_is_said_to_be_missing(plain):
    absent = Descriptor.of(mediatype.OCTETS, b"absent")
    with Registries() as registries:
        _publish(registries.repository(_reference(plain.host, "there"), push=True))
        store = registries.repository(_reference(plain.host, "there"))

        with pytest.raises(NotFoundError, match="there:none"):
            store.manifest("none")
        with pytest.raises(NotFoundError, match=str(absent.digest)):
            store.open_blob(absent)
        assert not store.has_blob(absent)
        with pytest.raises(NotFoundError):
            list(registries.repository(_reference(plain.host, "nowhere")).tags())


def test_resolving_a_tag_takes_at_most_three_requests(tmp_path):
    with docker_registry(tmp_path, auth=("anna", "secret")) as server:
        options = ConnectionOptions(credentials=Credentials("anna", "secret"))
        with Registries(options) as registries:
            _publish(registries.repository(_reference(server.host), push=True))
        with Registries(options) as registries:
            store = registries.repository(_reference(server.host))
            store.manifest("1")
            assert store.traffic.requests == 2


@pytest.mark.parametrize("credentials", [None, Credentials("anna", "wrong"), Credentials("bert", "secret")])
def test_wrong_credentials_are_denied_with_a_way_out(tmp_path, credentials):
    with (
        docker_registry(tmp_path, auth=("anna", "secret")) as server,
        Registries(ConnectionOptions(credentials=credentials), environment=_environment(tmp_path)) as registries,
    ):
        with pytest.raises(DeniedError) as caught:
            registries.repository(_reference(server.host)).manifest("1")
        assert caught.value.hint == f"haulout login {server.host}"
        assert "wrong" not in str(caught.value)
        assert server.count("GET") <= 2


def test_an_unknown_authority_is_refused_unless_the_user_says_otherwise(tmp_path):
    with docker_registry(tmp_path, tls=True) as server:
        environment = _environment(tmp_path)
        with Registries(environment=environment) as registries:
            with pytest.raises(UnreachableError, match="certificate") as caught:
                registries.repository(_reference(server.host)).manifest("1")
            assert f"certs.d/{server.host}" in (caught.value.hint or "")
        with Registries(ConnectionOptions(insecure=True), environment=environment) as registries:
            _publish(registries.repository(_reference(server.host), push=True))
        assert server.tls is not None
        with Registries(ConnectionOptions(ca_file=server.tls.ca), environment=environment) as registries:
            registries.repository(_reference(server.host)).manifest("1")
        plain_http = ConnectionOptions(plain_http=True)
        with (
            Registries(plain_http, environment=environment) as registries,
            pytest.raises(RegistryError, match="speaks HTTPS"),
        ):
            registries.repository(_reference(server.host)).manifest("1")


def test_a_certificate_for_another_name_is_refused(tmp_path):
    tls = issue_tls(tmp_path / "tls", ("localhost",))
    options = ConnectionOptions(ca_file=tls.ca)
    with (
        docker_registry(tmp_path, tls=tls) as server,
        Registries(options, environment=_environment(tmp_path)) as registries,
    ):
        with pytest.raises(UnreachableError, match=r"certificate of 127\.0\.0\.1:"):
            registries.repository(_reference(server.host)).manifest("1")
        _publish(registries.repository(_reference(f"localhost:{server.port}"), push=True))


def test_login_verifies_keeps_and_forgets(tmp_path):
    environment = _environment(tmp_path)
    path = tmp_path / "home/.config/containers/auth.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"auths": {"other.example": {"auth": "eDp5"}}, "credHelpers": {"x.example": "y"}}))
    with docker_registry(tmp_path, auth=("anna", "secret")) as server:
        with pytest.raises(DeniedError, match="refuses user name and password"):
            login(server.host, "anna", "wrong", environment=environment)
        assert find_credentials(server.host, "a", environment) is None
        assert login(server.host, "anna", "secret", environment=environment) == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert find_credentials(server.host, "a", environment) == Credentials("anna", "secret")
        with Registries(environment=environment) as registries:
            _publish(registries.repository(_reference(server.host), push=True))
        assert logout(server.host, environment=environment)
        assert json.loads(path.read_text()) == {
            "auths": {"other.example": {"auth": "eDp5"}},
            "credHelpers": {"x.example": "y"},
        }


@pytest.mark.skipif(find("skopeo") is None, reason="not installed: skopeo")
def test_skopeo_uses_what_login_kept(tmp_path):
    import subprocess

    environment = _environment(tmp_path) | {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    with docker_registry(tmp_path, auth=("anna", "s:ecret")) as server:
        login(server.host, "anna", "s:ecret", environment=environment)
        with Registries(environment=environment) as registries:
            pushed = _publish(registries.repository(_reference(server.host), push=True))
        done = subprocess.run(
            ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{_reference(server.host)}"],
            env=environment,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert Descriptor.of(pushed.media_type, done.stdout) == pushed


# -- nginx in front ------------------------------------------------------------------------------------------------------


@needs("nginx")
def test_a_proxy_without_ranges_begins_at_zero(tmp_path, plain):
    with nginx(tmp_path, plain, ranges="off") as proxy, Registries() as registries:
        _publish(registries.repository(_reference(proxy.host, "proxied"), push=True))
        store = registries.repository(_reference(proxy.host, "proxied"))
        with store.open_blob(BLOB, 1_000_000, 1_500_000) as stream:
            assert (stream.start, stream.stop) == (0, len(CONTENT)), "the whole blob comes, and may be used"
            assert stream.read(10_000_000) == CONTENT


@needs("nginx")
@pytest.mark.parametrize("ranges", ["pass", "force"])
def test_a_proxy_with_ranges_is_as_good_as_the_registry(tmp_path, plain, ranges):
    with nginx(tmp_path, plain, ranges=ranges, tls=True) as proxy:
        assert proxy.tls is not None
        with Registries(ConnectionOptions(ca_file=proxy.tls.ca)) as registries:
            _publish(registries.repository(_reference(proxy.host, "proxied"), push=True))
            with registries.repository(_reference(proxy.host, "proxied")).open_blob(BLOB, 5, 2_000_000) as stream:
                assert stream.start == 5
                assert stream.read(3_000_000) == CONTENT[5:2_000_000]


@needs("nginx")
def test_a_proxy_that_bounds_requests_gets_pieces(tmp_path, plain):
    data = os.urandom(20_000_000)
    blob = Descriptor.of(mediatype.OCTETS, data)
    with nginx(tmp_path, plain, extra="client_max_body_size 9m;") as proxy, Registries() as registries:
        store = registries.repository(_reference(proxy.host, "bounded"), push=True)
        store.push_blob(blob, lambda: io.BytesIO(data))

        assert store.has_blob(blob)
        assert proxy.count("PATCH") == 3


def test_many_threads_share_a_repository(plain):
    with Registries() as registries:
        _publish(registries.repository(_reference(plain.host, "threads"), push=True))
        store = registries.repository(_reference(plain.host, "threads"))
        bad: list[int] = []

        def read(number: int) -> None:
            for start in range(number * 1000, len(CONTENT), 700_001):
                stop = min(start + 300_000, len(CONTENT))
                with store.open_blob(BLOB, start, stop) as stream:
                    if stream.read(1 << 20) != CONTENT[start:stop]:
                        bad.append(start)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert bad == []


def test_a_mirror_is_asked_first_and_passed_over_when_it_fails(tmp_path, plain):
    notes: list[str] = []
    with docker_registry(tmp_path) as mirror:
        config = tmp_path / "registries.conf"
        config.write_text(
            f'[[registry]]\nlocation = "{plain.host}/mirrored"\n'
            f'[[registry.mirror]]\nlocation = "127.0.0.1:1/gone"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}/copy"\n'
        )
        environment = _environment(tmp_path) | {"CONTAINERS_REGISTRIES_CONF": str(config)}
        with Registries(environment=environment, note=notes.append) as registries:
            pushed = _publish(registries.repository(_reference(plain.host, "mirrored/x"), push=True))
            assert mirror.count() == 0
            _publish(registries.repository(_reference(mirror.host, "copy/x"), push=True))
            before = plain.count("GET")
            store = registries.repository(_reference(plain.host, "mirrored/x"))
            assert store.manifest("1").descriptor == pushed
            with store.open_blob(BLOB) as stream:
                assert stream.read(BLOB.size) == CONTENT
            assert plain.count("GET") == before
            # The log is written after the answer.
            deadline = time.monotonic() + 10
            while not mirror.count("GET", "/blobs/") and time.monotonic() < deadline:
                time.sleep(0.05)
            assert mirror.count("GET", "/blobs/") == 1
            assert [note.split(":")[0] for note in notes] == ["mirror 127.0.0.1"]


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("keeping"), deletes=False) as server:
        yield server


def test_a_registry_that_deletes_takes_a_manifest_with_its_tags(plain):
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "deletes"), push=True)
        described = _publish(store)
        _publish(store, "1.0")
        assert store.can_delete()
        # docker-registry 2.8 knows no other way.
        with pytest.raises(DeletionRefused, match="only by digest") as refused:
            store.delete_tag("1")
        assert refused.value.only_by_digest
        store.delete_manifest(described.digest)
        assert list(store.tags()) == []
        with pytest.raises(NotFoundError):
            store.delete_manifest(described.digest)


def test_a_deleted_referrer_leaves_the_fallback_tag(plain):
    with Registries() as registries:
        store = registries.repository(_reference(plain.host, "unattached"), push=True)
        described = _publish(store)
        attached = [_publish(store, f"a{number}", subject=described, annotations={"n": str(number)}) for number in "12"]
        listed = store.manifest(fallback_tag(described.digest)).parse("the list")
        assert isinstance(listed, Index)
        assert {entry.digest for entry in listed.manifests} == {one.digest for one in attached}
        store.delete_manifest(attached[0].digest)
        assert [entry.digest for entry in store.referrers(described.digest)] == [attached[1].digest]
        store.delete_manifest(attached[1].digest)
        assert [tag for tag in store.tags() if not tag.startswith("haulout.")] == ["1"]


def test_a_registry_that_does_not_delete_says_so_with_the_way_out(keeping):
    with Registries() as registries:
        store = registries.repository(_reference(keeping.host, "keeps"), push=True)
        described = _publish(store)
        assert not store.can_delete()
        for refused in (lambda: store.delete_manifest(described.digest), lambda: store.delete_tag("1")):
            with pytest.raises(DeletionRefused, match="does not delete") as caught:
                refused()
            assert "REGISTRY_STORAGE_DELETE_ENABLED" in (caught.value.hint or "")
        assert list(store.tags()) == ["1"]
