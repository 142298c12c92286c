"""Bad input of every kind, one by one, as a person meets it at the command line.

Each case is one clear line, with the exit code of its kind and a way out where there is one. Nothing appears under the
name that was asked for: an old result stays as it was, and where there was none there is none.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support.disks import raw_disk
from tests.support.misbehaving_registry import body, document, flip, wicked_registry
from tests.support.publish import publish_blob
from tests.support.servers import issue_tls, needs
from tests.support.simulators.registry import Basic, Bearer, Response, ScriptedServer, SimulatedRegistry

from haulout.cli.main import main
from haulout.cli.session import Session
from haulout.oci import Descriptor, Manifest, mediatype

if TYPE_CHECKING:
    from haulout.registry import ConnectionOptions

MANIFEST, INDEX = mediatype.OCI_MANIFEST, mediatype.OCI_INDEX
SOURCE = Path(__file__).parents[2] / "src"
SECRET = "s3cret-pass"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _at_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    real = Session.connections

    def hasty(self: Session) -> ConnectionOptions:
        return dataclasses.replace(real(self), attempts=2, stall_seconds=1.0, connect_seconds=1.0)

    monkeypatch.setattr(Session, "connections", hasty)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return raw_disk(tmp_path_factory.mktemp("disk") / "d.raw", data_mib=2, size_mib=8)


@pytest.fixture
def world(disk):
    with wicked_registry(disk) as registry:
        yield registry


class Person:
    """Somebody who pulls, once over an old result and once where there is none."""

    def __init__(self, tmp_path, capsys) -> None:
        self._folder = tmp_path
        self._capsys = capsys

    def pulls(self, reference: str, *options: str) -> tuple[int, str, str]:
        """Check what every failure owes; return the exit code, the line and the hint."""
        said = set()
        for old in (b"the old result", None):
            folder = self._folder / ("with-old" if old else "without")
            folder.mkdir()
            out = folder / "out.raw"
            if old is not None:
                out.write_bytes(old)
            self._capsys.readouterr()
            code = main(["pull", reference, "--arch", "x86_64", "-o", str(out), "--quiet", *options])
            told = self._capsys.readouterr()
            assert told.out == ""
            line, *more = told.err.splitlines()
            assert line.startswith("haulout: ")
            assert len(line) < 600
            assert line.isprintable()
            assert len(more) <= 1
            assert all(each.startswith("  hint: ") for each in more)
            assert SECRET not in told.err
            assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == (
                {"out.raw"} if old else set()
            )
            assert old is None or out.read_bytes() == old
            said.add((code, line.replace(str(folder), "FOLDER"), more[0][8:] if more else ""))
            shutil.rmtree(folder)
        assert len({code for code, _, _ in said}) == 1
        return said.pop()


@pytest.fixture
def person(tmp_path, capsys):
    return Person(tmp_path, capsys)


def login(registry, host: str | None = None, password: str = SECRET) -> None:
    """Keep credentials where haulout looks for them."""
    import base64

    pair = base64.b64encode(f"ann:{password}".encode()).decode()
    auths = {"auths": {host or registry.host: {"auth": pair}}}
    (Path(os.environ["HOME"]) / "containers").mkdir(exist_ok=True)
    (Path(os.environ["HOME"]) / "containers/auth.json").write_text(json.dumps(auths))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


# -- references, and what a tag holds --------------------------------------------------------------------------------------


def test_a_wrong_reference(person):
    code, line, _ = person.pulls("localhost:5000/UPPER:1")
    assert (code, "not a reference" in line, "at character" in line) == (2, True, True)


def test_a_missing_tag(world, person):
    code, line, _ = person.pulls(f"{world.registry.host}/m:none")
    assert (code, line) == (4, f"haulout: no tag none in {world.registry.host}/m")


def test_a_missing_digest(world, person):
    assert person.pulls(f"{world.registry.host}/m@sha256:{'0' * 64}")[0] == 4


def test_a_missing_layout_and_a_missing_tag_in_one(person, tmp_path, disk, capsys):
    assert person.pulls(f"oci:{tmp_path}/none:5.0")[0] == 4
    assert main(["push", f"oci:{tmp_path}/lay:5.0", str(disk), "--quiet"]) == 0
    code, line, _ = person.pulls(f"oci:{tmp_path}/lay:6.0")
    assert (code, line.endswith("there are 5.0")) == (4, True)


def test_html_from_a_proxy(world, person):
    page = Response(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><body>Log in, please</body></html>")
    world.registry.before = lambda _: page
    code, line, hint = person.pulls(f"{world.registry.host}/m:5.0")
    assert (code, "web page" in line, "proxy" in hint) == (7, True, True)


def test_html_that_claims_to_be_json(world, person):
    world.spoil("index", body(lambda _: b"<!DOCTYPE html><html></html>"))
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 8


@pytest.mark.parametrize("layers", [1, 20])
def test_an_ordinary_container_image(world, person, layers):
    registry = world.registry
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    registry.add_blob(config)
    found = []
    for number in range(layers):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            info = tarfile.TarInfo(f"etc/{number}")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        registry.add_blob(out.getvalue())
        found.append(Descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", out.getvalue()))
    manifest = Manifest(Descriptor.of(mediatype.OCI_CONFIG, config), tuple(found))
    registry.add_manifest("m", manifest.to_bytes(), MANIFEST, "image")
    code, line, hint = person.pulls(f"{registry.host}/m:image")
    assert (code, "is a container image, not a disk" in line, "podman" in hint) == (4, True, True)


def test_another_architecture_or_type_only(world, person):
    code, line, _ = person.pulls(f"{world.registry.host}/m:5.0", "--type", "hyperv")
    assert (code, "no x86_64/hyperv in" in line, "there is x86_64/applehv" in line) == (4, True, True)


# -- truncated, padded, bit-flipped ----------------------------------------------------------------------------------------

DAMAGE = {
    "truncated": lambda data: data[: len(data) * 2 // 3],
    "padded": lambda data: data + b"\0" * 9,
    "bit-flipped": lambda data: flip(data, len(data) // 3),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("what", ["manifest", "toc"])
def test_a_damaged_manifest_or_toc(world, person, what, how):
    world.spoil(what, body(DAMAGE[how]))
    code, line, _ = person.pulls(f"{world.registry.host}/m:5.0")
    assert code == 8
    assert "expected" in line


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_index_that_nothing_pins(world, person, how):
    world.spoil("index", body(DAMAGE[how]))
    if how == "padded":
        world.spoil("index", body(lambda data: data + b"x"))
    # Where the registry states the digest of what it sends, the damage shows in that.
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 8


@pytest.mark.parametrize("how", ["truncated", "bit-flipped"])
def test_a_damaged_blob(world, person, how):
    world.spoil("blob", body(DAMAGE[how]))
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] in {6, 7, 8}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_blob_without_a_table(world, person, disk, how, packed):
    blob = zstd(disk.read_bytes()) if packed else disk.read_bytes()
    title = "d.x86_64.applehv.raw.zst" if packed else "d.x86_64.applehv.raw"
    publish_blob(world.registry, "m", "whole", blob, title, "applehv")
    digest = str(Descriptor.of("a/b", blob).digest)
    # Stored so: what the registry says of it is consistent, and wrong.
    world.registry.blobs[digest] = DAMAGE[how](blob)
    code, line, _ = person.pulls(f"{world.registry.host}/m:whole")
    assert code == 8
    assert "expected" in line


def test_an_empty_blob(world, person):
    publish_blob(world.registry, "m", "empty", b"", "d.x86_64.applehv.raw", "applehv")
    assert person.pulls(f"{world.registry.host}/m:empty")[0] in {8, 9}


# -- lies ------------------------------------------------------------------------------------------------------------------

LIES = {
    "the size of a manifest": lambda index: index["manifests"][0].update(size=index["manifests"][0]["size"] + 1),
    "the digest of a manifest": lambda index: index["manifests"][0].update(digest="sha256:" + "0" * 64),
    "a negative size": lambda index: index["manifests"][0].update(size=-1),
    "embedded data": lambda index: index["manifests"][0].update(data="AAAA"),
}


@pytest.mark.parametrize("how", LIES)
def test_an_index_that_lies(world, person, how):
    def change(answer):
        answer = document(LIES[how])(answer)
        # A publisher's lie comes with a digest that is right.
        return dataclasses.replace(answer, headers={**answer.headers, "Docker-Content-Digest": ""})

    world.spoil("index", change)
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == (4 if how == "the digest of a manifest" else 8)


@pytest.mark.parametrize("off", [-1, 1, 1 << 40])
@pytest.mark.parametrize("packed", [True, False])
def test_a_manifest_that_lies_about_its_blobs_size(world, person, disk, off, packed):
    registry = world.registry
    blob = zstd(disk.read_bytes()) if packed else disk.read_bytes()
    publish_blob(registry, "m", "lie", blob, "d.x86_64.applehv.raw", "applehv")
    (name,) = {
        entry["digest"] for entry in json.loads(registry.manifests["m", registry.tags["m", "lie"]][1])["manifests"]
    }
    data = registry.manifests["m", name][1]
    bad = data.replace(b'"size":%d' % len(blob), b'"size":%d' % (len(blob) + off))
    sealed = registry.add_manifest("m", bad, MANIFEST)
    index = registry.manifests["m", registry.tags["m", "lie"]][1].replace(name.encode(), sealed.encode())
    index = index.replace(b'"size":%d' % len(data), b'"size":%d' % len(bad))
    registry.add_manifest("m", index, INDEX, "lie")
    assert person.pulls(f"{registry.host}/m:lie")[0] in ({8} if off < MIB else {8, 10})


@pytest.mark.parametrize(
    ("what", "key", "value"),
    [
        ("the table's size", "io.github.haulout.toc", "sha256:{digest} 1"),
        ("an enormous table", "io.github.haulout.toc", "sha256:{digest} 99999999999"),
        ("a table that is none", "io.github.haulout.toc", "no digest"),
        ("the disk's size", "io.github.haulout.disk", "sha256:{digest} 1"),
        ("a disk that is none", "io.github.haulout.disk", "sha256:xyz 5"),
    ],
)
def test_annotations_that_lie(world, person, what, key, value):
    registry = world.registry
    document_ = json.loads(registry.manifests["m", world.manifest][1])
    digest = document_["annotations"][key].split()[0].removeprefix("sha256:")
    document_["annotations"][key] = value.format(digest=digest)
    bad = json.dumps(document_, separators=(",", ":")).encode()
    sealed = registry.add_manifest("m", bad, MANIFEST)
    index = json.loads(registry.manifests["m", world.index][1])
    index["manifests"][0].update(digest=sealed, size=len(bad))
    registry.add_manifest("m", json.dumps(index).encode(), INDEX, "5.0")
    assert person.pulls(f"{registry.host}/m:5.0")[0] == 8


@pytest.mark.parametrize("what", ["kind", "blocks", "compressed", "digest of a frame"])
def test_a_frame_table_that_does_not_tile_or_lies(world, person, what):
    registry = world.registry
    toc = bytearray(registry.blobs[world.toc])
    frames = (len(toc) - 128) // 41
    # docs/formats/toc.md: a header of 128 bytes, then the columns SHA-256, compressed size, blocks, kind.
    place = {
        "digest of a frame": 128,
        "compressed": 128 + 32 * frames,
        "blocks": 128 + 36 * frames,
        "kind": 128 + 40 * frames,
    }[what]
    toc[place] ^= 1
    digest = registry.add_blob(bytes(toc))
    manifest = registry.manifests["m", world.manifest][1].replace(world.toc.encode(), digest.encode())
    sealed = registry.add_manifest("m", manifest, MANIFEST)
    index = registry.manifests["m", world.index][1].replace(world.manifest.encode(), sealed.encode())
    registry.add_manifest("m", index, INDEX, "5.0")
    code, line, _ = person.pulls(f"{registry.host}/m:5.0")
    assert code == 8
    assert ("frame" if what == "digest of a frame" else "table of contents") in line


# -- documents made to hurt ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
        b'{"schemaVersion":2,"manifests":[{"digest":"a","digest":"b"}]}',
        b"[" * 200_000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
    ],
    ids=["duplicate keys", "duplicate keys inside", "deep lists", "deep objects"],
)
def test_json_made_to_confuse(world, person, data):
    world.registry.add_manifest("m", data if data[:1] == b"{" else b"{}", INDEX)
    world.registry.before = lambda request: (
        Response(200, {"Content-Type": INDEX}, data) if request.path.endswith("/5.0") else None
    )
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 8


@pytest.mark.parametrize("stated", [True, False], ids=["announced", "unannounced"])
def test_a_manifest_of_a_gigabyte(world, person, stated):
    headers = {"Content-Type": INDEX, "Content-Length": str(1 << 30) if stated else ""}
    world.registry.before = lambda request: (
        Response(200, headers, b" " * (8 * MIB)) if request.path.endswith("/5.0") else None
    )
    code, line, _ = person.pulls(f"{world.registry.host}/m:5.0")
    assert (code, "4194304" in line) == (7, True)


@pytest.mark.parametrize("title", ["../../evil.raw", "/etc/passwd", "a/b.raw", "..", ".bashrc", "x\n.raw", "\x1b[2J"])
def test_a_path_in_a_title(world, disk, tmp_path, monkeypatch, capsys, title):
    publish_blob(world.registry, "m", "evil", disk.read_bytes(), title, "applehv")
    here = tmp_path / "a/b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    before = sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts)
    capsys.readouterr()
    assert main(["pull", f"{world.registry.host}/m:evil", "--arch", "x86_64", "--quiet"]) == 8
    line, hint = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert hint == "  hint: name the file with --output"
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == before


def _bomb(how: str) -> bytes:
    if how == "gz":
        import gzip

        return gzip.compress(b"\x01" * (256 * MIB), 9)
    if how == "xz":
        import lzma

        return lzma.compress(b"\x01" * (256 * MIB), preset=1)
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(compressor.compress(b"\x01" * MIB) for _ in range(512)) + compressor.flush()


@pytest.mark.parametrize("how", ["zst", "xz"])
def test_a_decompression_bomb(world, person, how):
    publish_blob(world.registry, "m", "bomb", _bomb(how), f"b.x86_64.applehv.raw.{how}", "applehv")
    code, line, _ = person.pulls(f"{world.registry.host}/m:bomb")
    assert (code, "decompression bomb" in line) == (8, True)


def test_a_bomb_in_the_headers_of_a_container_disk(world, person):
    registry = world.registry
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    layer = zstd(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 * MIB))
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    for data in (layer, config):
        registry.add_blob(data)
    described = Descriptor.of("application/vnd.oci.image.layer.v1.tar+zstd", layer)
    manifest = Manifest(Descriptor.of(mediatype.OCI_CONFIG, config), (described,))
    registry.add_manifest("m", manifest.to_bytes(), MANIFEST, "cd")
    code, line, _ = person.pulls(f"{registry.host}/m:cd")
    assert (code, "headers of more than" in line) == (8, True)


# -- this machine ----------------------------------------------------------------------------------------------------------


def test_a_symlink_at_the_target(world, tmp_path, capsys):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    assert main(["pull", f"{world.registry.host}/m:5.0", "--arch", "x86_64", "-o", str(link), "--quiet"]) == 10
    assert "symbolic link" in capsys.readouterr().err
    assert (real.read_bytes(), link.is_symlink()) == (b"old", True)


def _elsewhere(script: str) -> list[str]:
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", script]


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(_elsewhere("mount -t tmpfs none /mnt"), check=False, capture_output=True).returncode == 0


def _haulout(reference: str, out: Path | str) -> str:
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from haulout.cli.main import main; sys.exit(main())"
    return f'{sys.executable} -c "{code}" pull {reference} --arch x86_64 -o {out} --quiet'


MOUNTS = {
    "a full disk": "mount -t tmpfs -o size=1m none {place}; cp {old} {place}/out",
    "a disk that fills up on the way": "mount -t tmpfs -o size=8m none {place}; cp {old} {place}/out",
    "a read-only target": "mount --bind {place} {place}; mount -o remount,bind,ro {place}",
}


@pytest.mark.skipif(not _can_mount(), reason="mounting a tmpfs in a namespace is not permitted here")
@pytest.mark.parametrize("how", MOUNTS)
def test_a_place_that_cannot_hold_it(world, tmp_path, how, disk):
    place, old = tmp_path / "place", tmp_path / "old"
    place.mkdir()
    for file in (old, place / "out"):
        file.write_bytes(b"the old result")
    reference = f"{world.registry.host}/m:5.0"
    if "on the way" in how:
        # Zeros compress to nothing: their blob fits, the check of the room ahead has nothing to say, the disk does not.
        noise = os.urandom(MIB) * 24
        publish_blob(world.registry, "m", "big", zstd(noise), "d.x86_64.applehv.raw.zst", "applehv")
        reference = f"{world.registry.host}/m:big"
    mounts = MOUNTS[how].format(place=place, old=old)
    script = f"{mounts}; {_haulout(reference, place / 'out')}; echo $?; cat {place}/out; echo; ls {place}"
    done = subprocess.run(_elsewhere(script), check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["10", "the old result", "out"], done.stderr
    line, hint = done.stderr.splitlines()
    assert line.startswith("haulout: ")
    assert hint.startswith("  hint: ")


_STRANGER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from haulout.cli.main import main
reference, first, second = sys.argv[2:]
options = ["--arch", "x86_64", "--quiet", "-o"]
# Once as we are, so that everything is loaded: a stranger may not be able to read the modules.
assert main(["pull", reference, *options, first]) == 0
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(["pull", reference, *options, second]))
"""


@pytest.mark.parametrize("where", ["a folder that may not be written", "a folder that may not be entered"])
def test_no_permission(world, tmp_path, where):
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "out").write_bytes(b"the old result")
    shut.chmod(0o555 if "written" in where else 0o000)
    for folder in (tmp_path, *tmp_path.parents):
        # pytest's own folders are closed to others; those above it are the system's.
        if folder.name.startswith(("test_", "popen-", "pytest-")):
            folder.chmod(0o755)
    argv = [sys.executable, "-c", _STRANGER, str(SOURCE), f"{world.registry.host}/m:5.0"]
    # A stranger cannot write what coverage measures, and would say so.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [*argv, str(tmp_path / "first"), str(shut / "out")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    shut.chmod(0o755)
    assert done.returncode == 10, done.stderr
    line, hint = done.stderr.splitlines()
    assert line.endswith("permission denied")
    assert hint.startswith("  hint: ")
    assert [path.name for path in shut.iterdir()] == ["out"]
    assert (shut / "out").read_bytes() == b"the old result"


@pytest.mark.parametrize("verb", ["push", "inspect"])
def test_a_file_that_may_not_be_read_is_the_file_systems_no(tmp_path, capsys, verb):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("test_", "popen-", "pytest-")):
            folder.chmod(0o755)
    disk = raw_disk(tmp_path / "closed")
    words = ["push", f"oci:{tmp_path}/layout:1", str(disk), "--quiet"] if verb == "push" else ["inspect", str(disk)]
    # Once as we are, so that everything is loaded: a stranger may not be able to read the modules.
    assert main(words) == 0
    capsys.readouterr()
    disk.chmod(0o000)
    user = os.geteuid()
    try:
        os.seteuid(user or 65534)
        assert main(words) == 10
    finally:
        os.seteuid(user)
    assert (
        capsys.readouterr().err.lower().splitlines()[0].endswith(f"{disk}: cannot be opened: permission denied".lower())
    )


# -- registries that cannot be reached or trusted --------------------------------------------------------------------------


def test_an_unreachable_registry(person):
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    code, line, _ = person.pulls(f"{host}/m:5.0")
    assert (code, host in line) == (6, True)


def test_a_registry_whose_name_does_not_exist(person):
    assert person.pulls("registry.invalid/m:5.0")[0] == 6


@pytest.mark.parametrize("what", ["index", "blob"])
def test_a_registry_that_stalls(world, person, what):
    world.spoil(what, lambda answer: dataclasses.replace(answer, pause=4.0, pieces=max(len(answer.body) // 2, 1)))
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 6


def test_a_registry_without_tls(world, person, monkeypatch):
    """Only loopback may do without: under any other name plain HTTP is not even tried."""
    number = world.registry.host.rpartition(":")[2]
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, number)
    except OSError:
        pytest.skip("this machine's own name does not resolve")
    before = len(world.registry.requests)
    assert person.pulls(f"{name}:{number}/m:5.0")[0] == 6
    assert len(world.registry.requests) == before


def test_a_certificate_nobody_vouches_for(person, tmp_path):
    with SimulatedRegistry(tls=issue_tls(tmp_path / "tls")) as registry:
        code, line, hint = person.pulls(f"localhost:{registry.host.rpartition(':')[2]}/m:5.0")
        assert (code, "certificate" in line) == (6, True)
        assert hint
        assert registry.requests == []


@pytest.mark.parametrize("auth", [Basic("ann", "right"), Bearer("ann", "right")], ids=["basic", "bearer"])
@pytest.mark.parametrize("has", ["wrong", "no"])
def test_wrong_credentials_or_none(world, person, auth, has):
    world.registry.auth = auth
    if has == "wrong":
        login(world.registry)
    code, _, hint = person.pulls(f"{world.registry.host}/m:5.0")
    assert (code, hint) == (5, f"haulout login {world.registry.host}")


# -- credentials must not follow -------------------------------------------------------------------------------------------


@pytest.fixture
def thief():
    """Another host that would like to see a password."""
    with ScriptedServer(lambda _: Response(200, {"Content-Type": "application/json"}, b'{"token":"t"}')) as server:
        yield server
        for request in server.requests:
            assert "authorization" not in request.headers
            assert SECRET not in str(request)


def _url(thief) -> str:
    return f"http://{thief.host.replace('127.0.0.1', 'localhost')}/stolen"


@pytest.mark.parametrize("what", ["/manifests/", "/blobs/"])
def test_a_redirect_to_another_host(world, person, thief, what):
    world.registry.auth = Basic("ann", SECRET)
    login(world.registry)
    world.registry.before = lambda request: Response(307, {"Location": _url(thief)}) if what in request.path else None
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] in {7, 8}
    assert thief.requests


def test_a_realm_on_another_host(world, person, thief):
    """Services of tokens are elsewhere by right: asked they are, but a password they get over TLS only, or on loopback."""
    world.registry.auth = Bearer("ann", SECRET, realm=_url(thief))
    login(world.registry, "some.other.host")
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 5


@pytest.mark.parametrize("scheme", ["http://192.0.2.1/token", "ftp://localhost/x", "file:///etc/passwd", "no url"])
def test_a_realm_that_may_have_no_password(world, person, scheme):
    world.registry.auth = Bearer("ann", SECRET, realm=scheme)
    login(world.registry)
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] in {5, 7}


def test_an_upload_sent_to_another_host(world, thief, tmp_path, capsys):
    world.registry.auth = Basic("ann", SECRET)
    login(world.registry)
    tag = dict(world.registry.tags)
    other = raw_disk(tmp_path / "other.raw", data_mib=1, size_mib=4, seed="other")
    world.registry.before = lambda request: (
        Response(202, {"Location": _url(thief)}) if request.method == "POST" else None
    )
    capsys.readouterr()
    assert main(["push", f"{world.registry.host}/m:5.0", str(other), "--arch", "x86_64", "--quiet"]) == 5
    assert "another host" in capsys.readouterr().err
    assert thief.requests == []
    assert world.registry.tags == tag


# -- disks that point elsewhere --------------------------------------------------------------------------------------------


def _qcow2(folder: Path, how: str) -> bytes:
    secret = folder / "secret"
    secret.write_bytes(b"secret" * 1000)
    path = folder / "evil.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2"]
    if how == "a backing file":
        subprocess.run([*make, "-F", "raw", "-b", secret, path], check=True)
    elif how == "an external data file":
        subprocess.run([*make, "-o", f"data_file={folder}/data", path, "1M"], check=True)
    elif how == "a json: name":
        subprocess.run([*make, "-u", "-F", "raw", "-b", 'json:{"driver":"file","filename":"/etc/passwd"}', path, "1M"], check=True)  # fmt: skip
    else:
        subprocess.run([*make, path, "1M"], check=True)
        data = bytearray(path.read_bytes())
        data[24:32] = (1 << 62).to_bytes(8, "big")
        path.write_bytes(data)
    return path.read_bytes()


@pytest.mark.tools
@needs("qemu-img")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("how", ["a backing file", "an external data file", "a json: name", "a lying size"])
def test_a_qcow2_with(world, person, tmp_path, how, packed):
    blob = _qcow2(tmp_path, how)
    publish_blob(world.registry, "m", "evil", zstd(blob) if packed else blob, "e.x86_64.qemu.qcow2", "qemu")
    code, line, _ = person.pulls(f"{world.registry.host}/m:evil")
    assert code == 9
    assert line.startswith("haulout: refusing ")


@pytest.mark.tools
@needs("qemu-img")
def test_a_qcow2_that_was_announced_as_raw(world, person, tmp_path):
    """Guest data that looks like a qcow2 would be followed by whoever probes: CVE-2024-32498 and its kin."""
    publish_blob(world.registry, "m", "evil", _qcow2(tmp_path, "a backing file"), "e.x86_64.applehv.raw", "applehv")
    assert person.pulls(f"{world.registry.host}/m:evil")[0] == 9


def test_everything_at_once_is_still_one_line(world, person):
    """An error text from the registry that is long, has several lines and tries to drive a terminal."""
    text = json.dumps({"errors": [{"code": "DENIED", "message": "\x1b[2J\n" * 5000}]}).encode()
    world.registry.before = lambda _: Response(403, {"Content-Type": "application/json"}, text)
    assert person.pulls(f"{world.registry.host}/m:5.0")[0] == 5
