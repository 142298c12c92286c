"""The layout among other tools and other processes: skopeo reads and writes it, writers race, die and run out of room."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.servers import docker_registry, needs

from haulout.content.copy import copy
from haulout.content.layout import LayoutStore
from haulout.content.memory import MemoryStore
from haulout.content.verify import read_blob
from haulout.oci import EMPTY, Descriptor, Digest, Index, Platform, empty_config_manifest, mediatype

if TYPE_CHECKING:
    from haulout.content.ports import ManifestReader, Store

SOURCE = Path(__file__).parents[2] / "src"
TITLE = "org.opencontainers.image.title"


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(code: str, *arguments: str) -> list[str]:
    # pytest's python path does not reach children.
    return [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}", *arguments]


def parsed(store: ManifestReader, selector: str | Digest) -> Any:
    return store.manifest(selector).parse("x")


def publish(store: Store, tag: str = "5.0") -> Descriptor:
    """Push two disks as Podman publishes them, and a referrer of the first."""
    store.push_blob(EMPTY, lambda: BytesIO(b"{}"))
    entries = []
    for kind, extension in (("qemu", "qcow2"), ("hyperv", "vhdx")):
        with store.ingest() as ingest:
            ingest.write(kind.encode() * 1000)
            layer = ingest.commit(mediatype.ZSTD)
        layer = replace(layer, annotations={TITLE: f"m.x86_64.{kind}.{extension}.zst"})
        manifest = empty_config_manifest((layer,))
        pushed = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        entries.append(replace(pushed, annotations={"disktype": kind}, platform=Platform("x86_64", "linux")))
    toc = empty_config_manifest((), artifact_type="x/toc", subject=entries[0].bare())
    store.push_manifest(toc.to_bytes(), toc.media_type)
    index = Index(tuple(entries))
    return store.push_manifest(index.to_bytes(), index.media_type, tag)


@pytest.mark.tools
@needs("skopeo")
def test_skopeo_reads_inspects_and_copies_our_layout_and_we_read_its(tmp_path):
    ours, theirs, back = (str(tmp_path / name) for name in ("ours", "theirs", "back"))
    with LayoutStore(ours, create=True) as store:
        root = publish(store)
        raw = run("skopeo", "inspect", "--raw", f"oci:{ours}:5.0")
        assert raw.encode() == store.manifest("5.0").data
    run("skopeo", "copy", "--all", "--preserve-digests", f"oci:{ours}:5.0", f"oci:{theirs}:6.0")
    with LayoutStore(theirs) as store:
        assert store.manifest("6.0").descriptor == root
        first = parsed(store, "6.0").manifests[0]
        layer = parsed(store, first.digest).layers[0]
        assert read_blob(store, layer, 10_000, "layer") == b"qemu" * 1000
        # A tag of ours beside theirs, in the file skopeo wrote.
        publish(store, "7.0")
        assert list(store.tags()) == ["6.0", "7.0"]
    for tag in ("6.0", "7.0"):
        run("skopeo", "copy", "--all", "--preserve-digests", f"oci:{theirs}:{tag}", f"oci:{back}:{tag}")
    with LayoutStore(back) as store:
        assert store.manifest("7.0").descriptor == store.manifest("6.0").descriptor == root


@pytest.mark.tools
@needs("skopeo", "docker-registry")
def test_skopeo_carries_our_layout_to_a_registry_and_back_unchanged(tmp_path):
    ours, theirs = (str(tmp_path / name) for name in ("ours", "theirs"))
    with LayoutStore(ours, create=True) as store:
        root = publish(store)
    with docker_registry(tmp_path) as server:
        place = f"docker://{server.host}/machine:5.0"
        run("skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{ours}:5.0", place)
        run("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", place, f"oci:{theirs}:5.0")
    with LayoutStore(theirs) as store:
        assert store.manifest("5.0").descriptor == root


_EDITS = """
from haulout.content.layout import LayoutStore
from haulout.oci import empty_config_manifest
name, count, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with LayoutStore(directory, create=True) as store:
    for number in range(count):
        manifest = empty_config_manifest((), artifact_type=f"x/{name}-{number}")
        store.push_manifest(manifest.to_bytes(), manifest.media_type, f"{name}-{number:03}")
"""

_READ_MODIFY_WRITE = """
from haulout.content.layout import LayoutStore
from haulout.errors import NotFoundError
from haulout.oci import Index, empty_config_manifest
name, count, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with LayoutStore(directory, create=True) as store:
    for number in range(count):
        manifest = empty_config_manifest((), artifact_type=f"x/{name}-{number}")
        entry = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        with store.exclusive():
            try:
                before = store.manifest("5.0").parse("5.0").manifests
            except NotFoundError:
                before = ()
            index = Index((*before, entry))
            store.push_manifest(index.to_bytes(), index.media_type, "5.0")
"""


@pytest.mark.parametrize("code", [_EDITS, _READ_MODIFY_WRITE], ids=["tags", "one tag"])
def test_two_processes_lose_nothing(tmp_path, code):
    directory, count = str(tmp_path / "l"), 60
    writers = [subprocess.Popen(python(code, name, str(count), directory)) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    with LayoutStore(directory) as store:
        if code is _EDITS:
            assert len(list(store.tags())) == 2 * count
        else:
            entries = parsed(store, "5.0").manifests
            kinds = [parsed(store, entry.digest).artifact_type for entry in entries]
            for name in ("a", "b"):
                assert [kind for kind in kinds if name in kind] == [f"x/{name}-{number}" for number in range(count)]


_WRITER = """
import os
from haulout.content.layout import LayoutStore
from haulout.oci import empty_config_manifest
with LayoutStore(sys.argv[1], create=True) as store:
    print("begun", flush=True)
    number = 0
    while True:
        with store.ingest() as ingest:
            for _ in range(8):
                ingest.write(os.urandom(1 << 15))
            layer = ingest.commit("application/zstd")
        manifest = empty_config_manifest((layer,))
        store.push_manifest(manifest.to_bytes(), manifest.media_type, f"t{number % 7}")
        number += 1
"""


def test_a_writer_killed_at_any_moment_leaves_a_valid_layout(tmp_path):
    directory = str(tmp_path / "l")
    seed = random.Random(5)
    left_behind = 0
    for _ in range(12):
        with subprocess.Popen(python(_WRITER, directory), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(seed.uniform(0, 0.05))
            writer.kill()
            writer.wait(20)
        blobs = Path(directory, "blobs/sha256")
        left_behind += sum(path.name.startswith(".") for path in blobs.iterdir()) if blobs.exists() else 0
        with LayoutStore(directory) as store:
            for tag in store.tags():
                layer = parsed(store, tag).layers[0]
                assert len(read_blob(store, layer, 1 << 20, tag)) == 1 << 18
    with LayoutStore(directory) as store:
        publish(store)
        assert not list(Path(directory).rglob(".partial-*"))
        for path in Path(directory, "blobs/sha256").iterdir():
            assert Digest.of(path.read_bytes()).hex == path.name
    # Without any the sweep was not put to the test.
    assert left_behind > 0


def in_mount_namespace(script: str) -> list[str]:
    return ["unshare", "--mount", "--map-root-user", "sh", "-ec", script]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(in_mount_namespace("mount -t tmpfs none /mnt"), check=False, capture_output=True, timeout=20)
    return tried.returncode == 0


_REPORT = """
from haulout.content.layout import LayoutStore
from haulout.errors import HauloutError
from haulout.oci import empty_config_manifest
create = sys.argv[2] == "create"
try:
    with LayoutStore(sys.argv[1], create=create) as store:
        print(*store.tags(), end="")
        with store.ingest() as ingest:
            for _ in range(64):
                ingest.write(bytes(1 << 14))
            ingest.commit("application/zstd")
        manifest = empty_config_manifest(())
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "new")
except HauloutError as exc:
    print(type(exc).__name__, exc)
else:
    print("no error")
"""


@pytest.mark.tools
@pytest.mark.skipif(not can_mount(), reason="mounting a tmpfs in a namespace is not permitted here")
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    (tmp_path / "report.py").write_text(python(_REPORT)[4])
    script = f"""
        mount -t tmpfs -o size=256k none {mount}
        {sys.executable} {tmp_path}/report.py {mount}/l create
        find {mount} -name '.partial-*' | wc -l
        cat {mount}/l/index.json
    """
    report, partials, index = run(*in_mount_namespace(script)).splitlines()
    assert report.startswith(f"StorageError {mount}/l/blobs/sha256")
    assert report.endswith("the file system is full")
    assert partials == "0"
    assert json.loads(index)["manifests"] == []


@pytest.mark.tools
@pytest.mark.skipif(not can_mount(), reason="mounting a tmpfs in a namespace is not permitted here")
def test_a_read_only_layout_is_read_and_refuses_to_be_written(tmp_path):
    layout = tmp_path / "l"
    with LayoutStore(str(layout), create=True) as store:
        publish(store)
    (tmp_path / "report.py").write_text(python(_REPORT)[4])
    script = f"""
        mount --bind {layout} {layout}
        mount -o remount,bind,ro {layout}
        {sys.executable} {tmp_path}/report.py {layout} open
    """
    report = run(*in_mount_namespace(script))
    assert report.startswith("5.0StorageError ")
    assert report.endswith("the file system is read-only\n")


@pytest.mark.parametrize("create", ["create", "open"])
def test_a_place_one_may_not_enter_is_one_line(tmp_path, create):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0)
    # Root may enter everywhere, so it becomes somebody else once everything is imported.
    become = "import os, haulout.content.layout\nif os.geteuid() == 0: os.setuid(65534)\n"
    report = run(*python(become + _REPORT, f"{shut}/l", create))
    assert report.startswith("StorageError ")
    assert report.endswith("permission denied\n")
    assert report.count("\n") == 1


def test_a_copy_out_of_a_layout_and_into_another_is_byte_for_byte(tmp_path):
    memory = MemoryStore()
    with (
        LayoutStore(str(tmp_path / "a"), create=True) as first,
        LayoutStore(str(tmp_path / "b"), create=True) as second,
    ):
        root = publish(first)
        copy(first, "5.0", memory, "5.0")
        assert copy(memory, "5.0", second, "5.0").root == root
        entry = parsed(second, "5.0").manifests[0]
        assert [item.artifact_type for item in second.referrers(entry.digest)] == ["x/toc"]
    first_blobs, second_blobs = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "blobs/sha256").iterdir()} for name in "ab"
    )
    assert first_blobs == second_blobs
