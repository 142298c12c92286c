"""A hostile registry: whatever it answers, a pull ends in one clear line, and the old result stays as it was."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.disks import raw_disk, sha256
from tests.support.misbehaving_registry import BODIES, body, document, flip, wicked_registry
from tests.support.simulators.registry import Basic, Request, Response, ScriptedServer, SimulatedRegistry

from haulout.errors import HauloutError
from haulout.oci import Architecture, parse_reference
from haulout.registry import ConnectionOptions
from haulout.registry.options import Credentials
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

if TYPE_CHECKING:
    from pathlib import Path

X86 = Architecture.X86_64
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FAST = ConnectionOptions(attempts=2, stall_seconds=1.5, connect_seconds=2.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Path:
    return raw_disk(tmp_path_factory.mktemp("disk") / "d.raw", data_mib=3, size_mib=16)


@pytest.fixture
def wicked(disk):
    with wicked_registry(disk) as registry:
        yield registry


def refused(wicked, tmp_path, *, match: str | None = None, connections=FAST) -> HauloutError:
    """Pull over an old result and return the error, having checked what every failure owes its user."""
    out = tmp_path / "out.raw"
    out.write_bytes(b"the old result")
    with pytest.raises(HauloutError, match=match) as caught:
        pull(parse_reference(f"{wicked.registry.host}/m:5.0"), architecture=X86, output=out, connections=connections)
    assert out.read_bytes() == b"the old result"
    # What is right of the new disk may be kept for the next time, under a name nobody takes for a disk.
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["out.raw"]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert caught.value.exit_code in {4, 5, 6, 7, 8}
    return caught.value


@pytest.mark.parametrize("how", BODIES)
@pytest.mark.parametrize("what", ["toc", "manifest"])
def test_a_spoiled_document_is_refused(wicked, tmp_path, what, how):
    wicked.spoil(what, body(BODIES[how]))
    refused(wicked, tmp_path)


@pytest.mark.parametrize(
    "how", [how for how in BODIES if how not in {"padded", "flipped middle", "flipped first third", "flipped last"}]
)
def test_a_spoiled_index_is_refused(wicked, tmp_path, how):
    wicked.spoil("index", body(BODIES[how]))
    refused(wicked, tmp_path)


@pytest.mark.parametrize("how", ["zeros", "flipped first third", "html", "empty", "truncated"])
def test_a_spoiled_blob_is_refused(wicked, tmp_path, how):
    wicked.spoil("blob", body(BODIES[how]))
    refused(wicked, tmp_path)


def test_one_flipped_bit_on_the_way_is_asked_for_again(wicked, tmp_path, disk):
    spoiled: list[int] = []

    def once(answer):
        if spoiled:
            return answer
        spoiled.append(1)
        return replace(answer, body=flip(answer.body, len(answer.body) // 3))

    wicked.spoil("blob", once)
    pull(parse_reference(f"{wicked.registry.host}/m:5.0"), architecture=X86, output=tmp_path / "out", connections=FAST)
    assert sha256(tmp_path / "out") == sha256(disk)


DOCUMENTS = {
    "no schema version": lambda index: index.pop("schemaVersion"),
    "schema 1": lambda index: index.update(schemaVersion=1),
    "both index and manifest": lambda index: index.update(layers=[], config={}),
    "manifests is an object": lambda index: index.update(manifests={}),
    "wrong media type": lambda index: index.update(mediaType=MANIFEST),
    "unknown media type": lambda index: index.update(mediaType="text/plain"),
    "digest with a path": lambda index: index["manifests"][0].update(digest="sha256:../../../etc/passwd"),
    "digest in capitals": lambda index: index["manifests"][0].update(digest="sha256:" + "A" * 64),
    "digest of another algorithm": lambda index: index["manifests"][0].update(digest="md5:" + "0" * 32),
    "negative size": lambda index: index["manifests"][0].update(size=-1),
    "size is text": lambda index: index["manifests"][0].update(size="12"),
    "size is a float": lambda index: index["manifests"][0].update(size=1.5),
    "size is enormous": lambda index: index["manifests"][0].update(size=1 << 70),
    "size lies": lambda index: index["manifests"][0].update(size=index["manifests"][0]["size"] + 1),
    "annotations is a list": lambda index: index["manifests"][0].update(annotations=[]),
    "platform is text": lambda index: index["manifests"][0].update(platform="linux/amd64"),
    "embedded data lies": lambda index: index["manifests"][0].update(data="AAAA"),
    "entries beyond counting": lambda index: index.update(manifests=index["manifests"] * 5000),
    "no entries": lambda index: index.update(manifests=[]),
    "another architecture only": lambda index: index["manifests"][0]["platform"].update(architecture="s390x"),
    "a digest that is not there": lambda index: index["manifests"][0].update(digest="sha256:" + "0" * 64),
}


@pytest.mark.parametrize("how", DOCUMENTS)
def test_an_index_that_lies_is_refused(wicked, tmp_path, how):
    wicked.spoil("index", document(DOCUMENTS[how]))
    refused(wicked, tmp_path)


RAW = {
    "duplicate keys": b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
    "not a number": b'{"schemaVersion":NaN}',
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "huge number": b'{"schemaVersion":' + b"9" * 10_000 + b"}",
    "not utf-8": b'{"schemaVersion":2,"x":"\xff\xfe"}',
    "a list": b"[]",
    "text": b"hello",
    "escape sequences": b'{"schemaVersion":2,"mediaType":"\\u001b[2J","manifests":[]}',
}


@pytest.mark.parametrize("how", RAW)
def test_json_made_to_confuse_is_refused(wicked, tmp_path, how):
    wicked.spoil("index", body(lambda _: RAW[how]))
    refused(wicked, tmp_path)


def test_a_manifest_of_a_gigabyte_is_not_read(wicked, tmp_path):
    wicked.spoil("index", lambda answer: replace(answer, headers={**answer.headers, "Content-Length": str(1 << 30)}))
    refused(wicked, tmp_path)
    wicked.spoil("index", body(lambda _: b" " * (5 << 20)))
    refused(wicked, tmp_path)


STATUS = {
    "401 without a challenge": Response(401),
    "401 with a foreign scheme": Response(401, {"WWW-Authenticate": "Negotiate"}),
    "401 with a broken challenge": Response(401, {"WWW-Authenticate": 'Bearer realm="'}),
    "403": Response(403),
    "404": Response(404),
    "404 as html": Response(404, {"Content-Type": "text/html"}, b"<html>nothing here</html>"),
    "418": Response(418),
    "429 for ever": Response(429, {"Retry-After": "0"}),
    "500": Response(500),
    "503 with a long wait": Response(503, {"Retry-After": "1"}),
    "redirect to itself": Response(307, {"Location": "/v2/m/manifests/5.0"}),
    "redirect to a file": Response(302, {"Location": "file:///etc/passwd"}),
    "redirect nowhere": Response(302),
    "hangs up": Response(hang_up=True),
    "stalls": Response(200, {"Content-Type": INDEX}, b"{}" * 500, pause=5.0, pieces=10),
    "never answers": Response(200, header_pause=5.0),
    "compressed": Response(200, {"Content-Type": INDEX, "Content-Encoding": "gzip"}, b"\x1f\x8b"),
    "error text with escapes": Response(
        400, {}, b'{"errors":[{"code":"X","message":"\\u001b]0;owned\\u0007\\nline"}]}'
    ),
    "error text without end": Response(400, {}, b"x" * (3 << 20)),
}


@pytest.mark.parametrize("how", STATUS)
def test_answers_that_are_no_manifest(wicked, tmp_path, how):
    wicked.registry.before = lambda request: STATUS[how] if "/manifests/" in request.path else None
    refused(wicked, tmp_path)


@pytest.mark.parametrize("how", STATUS)
def test_answers_that_are_no_blob(wicked, tmp_path, how):
    wicked.registry.before = lambda request: STATUS[how] if wicked.blob in request.path else None
    refused(wicked, tmp_path)


RANGES = {
    "another range": {"Content-Range": "bytes 5-10/99999999"},
    "no content range": {"Content-Range": ""},
    "nonsense": {"Content-Range": "pages 1-2/3"},
    "another total": {"Content-Range": "bytes 0-100/101"},
}


@pytest.mark.parametrize("how", RANGES)
def test_ranges_that_lie(wicked, tmp_path, how):
    wicked.spoil("blob", lambda answer: replace(answer, headers={**answer.headers, **RANGES[how]}))
    refused(wicked, tmp_path)


def test_connections_cut_again_and_again_are_taken_up_where_they_broke(wicked, tmp_path, disk):
    cuts: list[int] = []

    def cut(answer):
        cuts.append(1)
        return replace(answer, cut=200_000) if len(answer.body) > 200_000 else answer

    wicked.spoil("blob", cut)
    options = ConnectionOptions(attempts=20, stall_seconds=5)
    result = pull(
        parse_reference(f"{wicked.registry.host}/m:5.0"), architecture=X86, output=tmp_path / "out", connections=options
    )
    assert sha256(tmp_path / "out") == sha256(disk)
    assert len(cuts) > 3
    assert result.traffic.received < 1.3 * result.blob.size


def test_credentials_do_not_follow_a_redirect_realm_or_upload_to_another_host(tmp_path, disk):
    secret = ConnectionOptions(credentials=Credentials("ann", "s3cret"), attempts=2, stall_seconds=2)
    seen: list[Request] = []

    def spy(request):
        seen.append(request)
        return Response(200, {"Content-Type": "application/json"}, b'{"token":"t"}')

    with ScriptedServer(spy) as elsewhere, SimulatedRegistry(auth=Basic("ann", "s3cret")) as registry:
        reference = parse_reference(f"{registry.host}/m:5.0")
        push(reference, [DiskSource(disk, X86)], connections=secret)
        url = f"http://{elsewhere.host.replace('127.0.0.1', 'localhost')}/stolen"
        tricks = [
            lambda request: Response(307, {"Location": url}) if "/blobs/" in request.path else None,
            lambda request: Response(401, {"WWW-Authenticate": f'Bearer realm="{url}",service="x"'}),
            lambda request: Response(202, {"Location": url}) if request.method == "POST" else None,
        ]
        for trick in tricks:
            registry.before = trick
            other = raw_disk(tmp_path / "other.raw", data_mib=1, size_mib=4, seed="other")
            with suppress(HauloutError):
                pull(reference, architecture=X86, output=tmp_path / "o", connections=secret)
            with suppress(HauloutError):
                push(parse_reference(f"{registry.host}/m:6"), [DiskSource(other, X86)], connections=secret)
        with pytest.raises(HauloutError, match="localhost"):
            push(parse_reference(f"{registry.host}/m:7"), [DiskSource(other, X86)], connections=secret)
    for request in seen:
        assert "s3cret" not in str(request)
        assert "YW5uOnMzY3JldA" not in str(request)
        assert "authorization" not in request.headers


def test_a_title_with_a_path_is_never_a_path(wicked, tmp_path, monkeypatch, disk):
    from tests.support.publish import publish_blob

    monkeypatch.chdir(tmp_path)
    for title in ("../../evil.raw", "/etc/passwd", "a/b.raw", "..", "x\n.raw", "\x1b[2J"):
        publish_blob(wicked.registry, "m", "evil", disk.read_bytes(), title, "applehv")
        with pytest.raises(HauloutError):
            pull(parse_reference(f"{wicked.registry.host}/m:evil"), architecture=X86, connections=FAST)
    assert not (tmp_path.parent / "evil.raw").exists()


@pytest.mark.parametrize("disk_type", ["/../../evil", "../../../evil", "..", "x/y", "\x1b[2J", "a" * 300])
def test_a_disk_type_with_a_path_is_never_a_path(wicked, tmp_path, monkeypatch, disk, disk_type):
    from tests.support.publish import publish_blob

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    # The kernel would look into this folder on its way to "..".
    (here / "m.x86_64.").mkdir()
    (here / "m.x86_64...").mkdir()
    publish_blob(wicked.registry, "m", "evil", disk.read_bytes(), None, disk_type)
    path = pull(parse_reference(f"{wicked.registry.host}/m:evil"), architecture=X86, connections=FAST).path
    assert path.absolute().parent == here
    assert path.name.isprintable()
    assert [entry.name for entry in tmp_path.iterdir() if "evil" in entry.name] == []


def test_a_decompression_bomb_stops_early(wicked, tmp_path):
    import zstandard
    from tests.support.publish import publish_blob

    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join(compressor.compress(b"\x01" * (1 << 20)) for _ in range(1024)) + compressor.flush()
    publish_blob(wicked.registry, "m", "5.0", bomb, "bomb.x86_64.applehv.raw.zst", "applehv")
    refused(wicked, tmp_path, match="bomb")
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir() if path.is_file()) < 1 << 20


def test_a_toc_that_does_not_tile_is_refused_though_its_digest_is_right(wicked, tmp_path):
    registry = wicked.registry
    toc = bytearray(registry.blobs[wicked.toc])
    toc[-1] ^= 1  # the kind of the last frame
    digest = registry.add_blob(bytes(toc))

    # A publisher who lies does so consistently: manifest and index are sealed anew around the bad table.
    manifest = next(data for (_, name), (_, data) in registry.manifests.items() if name == wicked.manifest)
    bad = manifest.replace(wicked.toc.encode(), digest.encode())
    sealed = registry.add_manifest("m", bad, MANIFEST)
    index = next(data for (_, name), (_, data) in registry.manifests.items() if name == wicked.index)
    registry.add_manifest("m", index.replace(wicked.manifest.encode(), sealed.encode()), INDEX, "5.0")
    refused(wicked, tmp_path, match="table of contents")
