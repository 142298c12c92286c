"""Push and pull against the real docker-registry, and the stock tools on what we published."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.support.disks import MIB, leftovers, qcow2_disk, raw_disk, sha256
from tests.support.publish import publish_blob, publish_container
from tests.support.servers import docker_registry, needs, nginx
from tests.support.simulators.registry import SimulatedRegistry

from haulout.disk import DiskFormat, DiskType
from haulout.errors import (
    ConflictError,
    ContentError,
    DeniedError,
    DigestMismatch,
    NoMatchingDisk,
    NotFoundError,
    StorageError,
    UnsafeDiskError,
    UsageError,
)
from haulout.oci import Architecture, Digest, Index, Manifest, SizedDigest, parse_any, parse_reference
from haulout.oci import annotations as keys
from haulout.progress import NullProgress
from haulout.publish.index import tables_of
from haulout.registry import ConnectionOptions
from haulout.registry.options import Credentials
from haulout.usecases.lookup import resolve
from haulout.usecases.pull import pull
from haulout.usecases.push import DiskSource, push

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tools, needs("docker-registry")]
X86, ARM = Architecture.X86_64, Architecture.AARCH64


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def registry(tmp_path):
    with docker_registry(tmp_path) as server:
        yield server


def reference(server, tag="5.0", repository="team/machine"):
    return parse_reference(f"{server.host}/{repository}:{tag}")


def index_of(server, tag="5.0", repository="team/machine"):
    request = urllib.request.Request(
        f"{server.url}/v2/{repository}/manifests/{tag}",
        headers={"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return parse_any(answer.read(), tag)


def test_what_is_pushed_comes_back_byte_for_byte_and_sparse(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    pushed = push(reference(registry), [DiskSource(disk, X86)])
    pulled = pull(reference(registry), architecture=X86, output=tmp_path / "out.raw")
    assert sha256(tmp_path / "out.raw") == sha256(disk) == pushed.disks[0].disk.digest.hex
    assert (tmp_path / "out.raw").stat().st_blocks * 512 < 10 * 1024 * 1024
    assert (pulled.status, pulled.verified) == ("pulled", "frames")
    assert pulled.moved.fetched - pulled.moved.index < pushed.disks[0].blob.size
    assert leftovers(tmp_path) == []
    # The pinned reference means the same disk, and nothing moves for one that is here.
    again = pull(pulled.pinned, architecture=X86, output=tmp_path / "out.raw")
    assert (again.status, again.moved.fetched) == ("present", 0)


def test_resolving_a_tag_takes_at_most_three_requests(registry, tmp_path):
    push(reference(registry), [DiskSource(raw_disk(tmp_path / "d.raw"), X86)])
    before = registry.count()
    found = resolve(reference(registry), architecture=X86)
    assert registry.count() - before <= 3
    assert str(found.pinned).startswith(f"{registry.host}/team/machine@sha256:")


def test_pushing_again_uploads_nothing(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    first = push(reference(registry), [DiskSource(disk, X86)])
    before = registry.count("POST")
    second = push(reference(registry), [DiskSource(disk, X86)])
    assert second.disks[0].status == "present"
    assert second.index == first.index
    assert registry.count("POST") == before
    assert second.traffic.sent < 4096


def test_entries_of_others_stay_and_only_the_same_is_replaced(registry, tmp_path):
    raw = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8)
    push(reference(registry), [DiskSource(raw, X86), DiskSource(raw, ARM)])
    push(reference(registry), [DiskSource(raw_disk(tmp_path / "e.raw", data_mib=1, size_mib=8, seed="e"), ARM)])
    index = index_of(registry)
    assert isinstance(index, Index)
    assert [entry.platform and entry.platform.architecture for entry in index.manifests] == [
        *("x86_64", "aarch64"),
        # Their tables.
        *("unknown", "unknown"),
    ]
    pull(reference(registry), architecture=ARM, output=tmp_path / "out")
    assert sha256(tmp_path / "out") == sha256(tmp_path / "e.raw")
    with pytest.raises(NoMatchingDisk, match=r"no aarch64/hyperv in .*; there are x86_64/applehv, aarch64/applehv"):
        pull(reference(registry), architecture=ARM, disk_type=DiskType.HYPERV, output=tmp_path / "no")


def test_the_published_form_is_podmans(registry, tmp_path):
    push(
        reference(registry),
        [DiskSource(raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8), X86)],
        title="podman-machine",
    )
    entry = index_of(registry).manifests[0]
    assert entry.platform is not None
    assert (entry.platform.architecture, entry.platform.os) == ("x86_64", "linux")
    assert entry.annotations == {"disktype": "applehv"}
    manifest = index_of(registry, str(entry.digest))
    assert isinstance(manifest, Manifest)
    assert manifest.config.data == b"{}"
    assert [layer.media_type for layer in manifest.layers] == ["application/zstd"]
    assert manifest.layers[0].annotations == {keys.TITLE: "podman-machine.x86_64.applehv.raw.zst"}


@pytest.mark.parametrize("deletes", [True, False])
def test_many_publishers_of_one_tag_lose_nothing_and_leave_nothing(tmp_path, deletes):
    disks = {}
    for arch in Architecture:
        disks[arch] = [raw_disk(tmp_path / f"{arch}{n}.raw", data_mib=1, size_mib=4, seed=f"{arch}{n}") for n in "12"]
    with docker_registry(tmp_path, deletes=deletes) as registry:
        # The first push, one of other disks to the same tag, and the first to another tag.
        for tag, version in (("r0", 0), ("r0", 1), ("r1", 0)):
            target = reference(registry, tag)
            with ThreadPoolExecutor(len(disks)) as pool:
                work = {
                    arch: pool.submit(push, target, [DiskSource(files[version], arch)], jobs=1)
                    for arch, files in disks.items()
                }
                pushed = {arch.value: each.result().disks[0].manifest for arch, each in work.items()}
            index = index_of(registry, tag)
            there = {e.platform.architecture: e.digest for e in index.manifests if e.platform and tables_of(e) is None}
            assert there == pushed
            assert {tables_of(entry) for entry in index.manifests} - {None} == set(pushed.values())
        with urllib.request.urlopen(f"{registry.url}/v2/team/machine/tags/list", timeout=10) as answer:
            assert sorted(json.load(answer)["tags"]) == ["r0", "r1"]


@needs("skopeo", "zstd")
def test_skopeo_copies_it_and_zstd_reads_it(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    push(reference(registry), [DiskSource(disk, X86)])
    subprocess.run(
        ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false",
         f"docker://{registry.host}/team/machine:5.0", f"oci:{tmp_path}/copy:5.0"],
        check=True,
    )  # fmt: skip
    blobs = sorted((tmp_path / "copy/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    with (tmp_path / "plain").open("wb") as out:
        subprocess.run(["zstd", "-dc", blobs[-1]], check=True, stdout=out)
    assert sha256(tmp_path / "plain") == sha256(disk)
    # The table of contents comes along.
    pulled = pull(parse_reference(f"oci:{tmp_path}/copy:5.0"), architecture=X86, output=tmp_path / "out")
    assert (pulled.verified, sha256(tmp_path / "out")) == ("frames", sha256(disk))


@needs("skopeo")
def test_an_embedded_layout_travels_through_skopeo_to_a_registry(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    push(parse_reference(f"oci:{tmp_path}/lay:5.0"), [DiskSource(disk, X86)])
    subprocess.run(
        ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/lay:5.0",
         f"docker://{registry.host}/team/machine:5.0"],
        check=True,
    )  # fmt: skip
    pull(reference(registry), architecture=X86, output=tmp_path / "out")
    assert sha256(tmp_path / "out") == sha256(disk)


@needs("qemu-img")
def test_all_formats_from_one_raw_disk(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=2, size_mib=16)
    types = (DiskType.QEMU, DiskType.HYPERV, DiskType.VMDK)
    push(reference(registry), [DiskSource(disk, X86)], also=types)
    for disk_type in types:
        out = tmp_path / f"out.{disk_type}"
        result = pull(reference(registry), architecture=X86, disk_type=disk_type, output=out)
        assert result.format == disk_type.disk_format
        subprocess.run(
            ["qemu-img", "compare", "-f", "raw", "-F", result.format, disk, out], check=True, stdout=subprocess.DEVNULL
        )
        if disk_type is not DiskType.VMDK:
            subprocess.run(["qemu-img", "check", "-f", result.format, out], check=True, stdout=subprocess.DEVNULL)


@needs("qemu-img")
@pytest.mark.parametrize("form", [DiskFormat.QCOW2, DiskFormat.VHDX, DiskFormat.VMDK])
def test_as_makes_the_format_here_and_is_recognised_next_time(registry, tmp_path, form):
    disk = raw_disk(tmp_path / "d.raw", data_mib=2, size_mib=16)
    push(reference(registry), [DiskSource(disk, X86)])
    out = tmp_path / "out"
    assert pull(reference(registry), architecture=X86, output=out, as_format=form).status == "pulled"
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", form, disk, out], check=True, stdout=subprocess.DEVNULL)
    assert pull(reference(registry), architecture=X86, output=out, as_format=form).status == "present"
    assert leftovers(tmp_path) == []


@needs("qemu-img")
def test_a_compressed_qcow2_is_published_uncompressed(registry, tmp_path):
    raw = raw_disk(tmp_path / "d.raw", data_mib=2, size_mib=16)
    packed = qcow2_disk(tmp_path / "d.qcow2", raw, compressed=True)
    push(reference(registry), [DiskSource(packed, X86)])
    pull(reference(registry), architecture=X86, output=tmp_path / "out")
    info = json.loads(subprocess.check_output(["qemu-img", "check", "-f", "qcow2", "--output=json", tmp_path / "out"]))
    assert info.get("compressed-clusters", 0) == 0
    subprocess.run(["qemu-img", "compare", raw, tmp_path / "out"], check=True, stdout=subprocess.DEVNULL)


@needs("qemu-img")
def test_a_qcow2_with_a_backing_file_is_neither_pushed_nor_pulled(registry, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(1 << 20))
    evil = tmp_path / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, evil], check=True)
    with pytest.raises(UnsafeDiskError):
        push(reference(registry), [DiskSource(evil, X86)])
    # Somebody else's tool published it all the same.
    from tests.support.publish import publish_blob

    publish_blob(registry, "team/machine", "evil", evil.read_bytes(), "evil.x86_64.qemu.qcow2", "qemu")
    out = tmp_path / "out"
    out.write_bytes(b"old")
    with pytest.raises(UnsafeDiskError):
        pull(reference(registry, "evil"), architecture=X86, output=out)
    assert out.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("tool", ["zstd", "gzip", "xz", "cat"])
def test_blobs_of_other_tools_are_pulled_whole(registry, tmp_path, tool):
    from tests.support.publish import publish_blob

    disk = raw_disk(tmp_path / "d.raw", data_mib=2, size_mib=16)
    command = [tool] if tool == "cat" else [tool, "-c"]
    blob = subprocess.check_output([*command, disk])
    suffix = {"zstd": ".zst", "gzip": ".gz", "xz": ".xz", "cat": ""}[tool]
    publish_blob(registry, "team/machine", "5.0", blob, f"podman-machine.x86_64.applehv.raw{suffix}", "applehv")
    out = tmp_path / "out"
    result = pull(reference(registry), architecture=X86, output=out)
    assert (result.verified, sha256(out)) == ("blob", sha256(disk))
    assert out.stat().st_blocks * 512 < 4 << 20
    assert pull(reference(registry), architecture=X86, output=out).status == "present"
    assert leftovers(tmp_path) == []


def test_a_dry_run_of_a_container_disk_fetches_no_more_than_tells_that_it_is_one(registry, tmp_path):
    disk = os.urandom(24 * MIB)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("disk/d.raw")
        member.size = len(disk)
        tar.addfile(member, io.BytesIO(disk))
    config = json.dumps({"architecture": X86.go, "os": "linux"}).encode()
    publish_container(registry, "team/machine", "5.0", config, archive.getvalue())
    out = tmp_path / "out"
    planned = pull(reference(registry), architecture=X86, output=out, dry_run=True)
    assert (planned.status, planned.moved.fetched) == ("planned", len(archive.getvalue()))
    assert planned.traffic.received < 2 * MIB
    assert pull(reference(registry), architecture=X86, output=out).blob == planned.blob
    assert out.read_bytes() == disk


def test_a_registry_with_a_password(tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8)
    with docker_registry(tmp_path, auth=("ann", "s3cret")) as server:
        good = ConnectionOptions(credentials=Credentials("ann", "s3cret"))
        push(reference(server), [DiskSource(disk, X86)], connections=good)
        pull(reference(server), architecture=X86, output=tmp_path / "out", connections=good)
        assert sha256(tmp_path / "out") == sha256(disk)
        wrong = ConnectionOptions(credentials=Credentials("ann", "guess-me"))
        with pytest.raises(DeniedError) as caught:
            pull(reference(server), architecture=X86, output=tmp_path / "no", connections=wrong)
        assert "guess-me" not in str(caught.value)


@needs("nginx")
def test_a_server_that_ignores_ranges(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=20, size_mib=64)
    push(reference(registry), [DiskSource(disk, X86)])
    with nginx(tmp_path, registry, ranges="off") as front:
        result = pull(reference(front), architecture=X86, output=tmp_path / "out")
    assert sha256(tmp_path / "out") == sha256(disk)
    # Once: nginx may close a connection half way, which is taken up again, but no slice or thread asks for it anew.
    whole = [access for access in front.accesses() if str(result.blob.digest) in access.path]
    assert [access.sent for access in whole].count(result.blob.size) == 1


def test_what_is_in_the_way_stays(registry, tmp_path):
    push(reference(registry), [DiskSource(raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8), X86)])
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StorageError, match="symbolic link"):
        pull(reference(registry), architecture=X86, output=tmp_path / "link")
    assert (tmp_path / "real").read_bytes() == b"old"
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StorageError):
        pull(reference(registry), architecture=X86, output=tmp_path / "fifo")
    with pytest.raises(StorageError, match="no such folder"):
        pull(reference(registry), architecture=X86, output=tmp_path / "missing" / "x")
    with pytest.raises(UsageError):
        push(parse_reference(f"{registry.host}/a@sha256:{'0' * 64}"), [DiskSource(tmp_path / "d.raw", X86)])


def _start_pull(ref, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "haulout", "pull", str(ref), "--arch", "x86_64", "-o", str(out), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.long
def test_kill_9_anywhere_then_the_next_pull_completes(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=48, size_mib=256)
    push(reference(registry), [DiskSource(disk, X86)], level=1)
    want = sha256(disk)
    with _start_pull(reference(registry), tmp_path / "whole") as whole:
        begun = time.monotonic()
        whole.communicate(timeout=60)
        seconds = time.monotonic() - begun
    reused = 0
    for point in range(20):
        out = tmp_path / f"out{point}"
        with _start_pull(reference(registry), out) as victim:
            time.sleep(seconds * (0.3 + 0.7 * point / 20))
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
        if out.exists():
            assert sha256(out) == want, "what has its name is right"
        with _start_pull(reference(registry), out) as rerun:
            stdout, _ = rerun.communicate(timeout=60)
        assert rerun.returncode == 0
        assert sha256(out) == want
        reused += (
            json.loads(stdout)["bytes"]["reused"] if "bytes" in json.loads(stdout) else json.loads(stdout)["reused"]
        )
        out.unlink()
        assert leftovers(tmp_path) == []
    assert reused > 0, "some of what was verified was taken up again"


def test_two_pulls_to_one_target_do_not_mix(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=24, size_mib=64)
    push(reference(registry), [DiskSource(disk, X86)], level=1)

    def one(_):
        try:
            return pull(reference(registry), architecture=X86, output=tmp_path / "out").status
        except ConflictError:
            return "conflict"

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(one, range(3)))
    assert set(outcomes) <= {"pulled", "present", "conflict"}
    assert "pulled" in outcomes
    assert sha256(tmp_path / "out") == sha256(disk)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_costs_one_line_and_is_continued_elsewhere(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw", data_mib=24, size_mib=64)
    push(reference(registry), [DiskSource(disk, X86)], level=1)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=False, stderr=subprocess.DEVNULL
    )
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        (small / "out").write_bytes(b"old")
        with pytest.raises(StorageError, match="free"):
            pull(reference(registry), architecture=X86, output=small / "out")
        assert (small / "out").read_bytes() == b"old"
        assert leftovers(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("published_by", ["us", "others"])
def test_a_mirror_that_sends_damage_is_passed_over(registry, tmp_path, monkeypatch, published_by):
    disk = raw_disk(tmp_path / "d.raw")
    if published_by == "us":
        blob = push(reference(registry), [DiskSource(disk, X86)]).disks[0].blob
    else:
        data = subprocess.run(["zstd", "-q", "-c", disk], check=True, stdout=subprocess.PIPE).stdout
        publish_blob(registry, "team/machine", "5.0", data, "m.raw.zst", "applehv")
        blob = None
    (tmp_path / "mirror").mkdir()
    with docker_registry(tmp_path / "mirror") as mirror:
        both = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        source, copy = (f"docker://{server.host}/team/machine:5.0" for server in (registry, mirror))
        subprocess.run(["skopeo", "copy", "-q", "--all", "--preserve-digests", *both, source, copy], check=True)
        assert mirror.root is not None
        blobs = (mirror.root / "docker/registry/v2/blobs").rglob("data")
        largest = max(blobs, key=lambda path: path.stat().st_size)
        assert blob is None or blob.digest.hex in str(largest)
        with largest.open("r+b") as file:
            file.seek(largest.stat().st_size // 2)
            file.write(b"damaged!")
        config = tmp_path / "registries.conf"
        config.write_text(
            f'[[registry]]\nlocation = "{registry.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\ninsecure = true\n'
        )
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(config))
        pulled = pull(reference(registry), architecture=X86, disk_type=DiskType.APPLEHV, output=tmp_path / "out.raw")
        assert mirror.count("GET", "/blobs/") > 0
    assert pulled.status == "pulled"
    assert sha256(tmp_path / "out.raw") == sha256(disk)


def test_a_mirror_that_dies_in_the_middle_is_left_for_the_next(registry, tmp_path, monkeypatch):
    disk = raw_disk(tmp_path / "d.raw")
    data = subprocess.run(["zstd", "-q", "-c", disk], check=True, stdout=subprocess.PIPE).stdout
    publish_blob(registry, "team/machine", "5.0", data, "m.raw.zst", "applehv")
    begun = []

    def dies(request):
        if request.method != "GET" or "/blobs/" not in request.path:
            return None
        begun.append(request.range)
        return replace(mirror.answer(request), cut=len(data) // 2 if len(begun) == 1 else 0)

    (tmp_path / "second").mkdir()
    with SimulatedRegistry(before=dies) as mirror, docker_registry(tmp_path / "second") as second:
        both = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        source = f"docker://{registry.host}/team/machine:5.0"
        for server in (mirror, second):
            copy = f"docker://{server.host}/team/machine:5.0"
            subprocess.run(["skopeo", "copy", "-q", "--all", "--preserve-digests", *both, source, copy], check=True)
        begun.clear()
        config = tmp_path / "registries.conf"
        mirrors = "".join(
            f'[[registry.mirror]]\nlocation = "{server.host}"\ninsecure = true\n' for server in (mirror, second)
        )
        config.write_text(f'[[registry]]\nlocation = "{registry.host}"\n{mirrors}')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(config))
        before = registry.count("GET", "/blobs/")
        pulled = pull(
            reference(registry),
            architecture=X86,
            disk_type=DiskType.APPLEHV,
            output=tmp_path / "out.raw",
            connections=ConnectionOptions(attempts=2, stall_seconds=2.0, connect_seconds=2.0),
        )
        assert len(begun) > 1
        assert second.count("GET", "/blobs/") > 0
        assert registry.count("GET", "/blobs/") == before
    assert pulled.moved.fetched == len(data)
    assert pulled.traffic.received < 1.2 * len(data)
    assert sha256(tmp_path / "out.raw") == sha256(disk)


def test_a_delta_from_nowhere_is_refused_before_anything_is_uploaded(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    with pytest.raises(NotFoundError):
        push(reference(registry), [DiskSource(disk, X86)], delta_from=[reference(registry, "nowhere")])
    assert registry.count("POST") == 0


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_silent_registry(tmp_path):
    disk = raw_disk(tmp_path / "d.raw")
    with SimulatedRegistry() as server:
        push(parse_reference(f"{server.host}/m:1"), [DiskSource(disk, X86)])
        stalled = []

        def before(request):
            answer = server.answer(request)
            if request.method == "GET" and len(answer.body) > MIB:
                stalled.append(request)
                server.sleep(60)
            return answer

        server.before = before
        argv = [sys.executable, "-m", "haulout", "pull", f"{server.host}/m:1", "--arch", "x86_64", "-o", tmp_path / "o"]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while not stalled and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert time.monotonic() - begun < 15
    assert process.returncode == 130
    assert b"interrupted; run the same command again" in told


def test_a_disk_that_is_written_to_while_it_is_read_is_not_published(registry, tmp_path):
    disk = raw_disk(tmp_path / "d.raw")

    class Writing(NullProgress):
        def task(self, name, total, *, unit="B", done=0):
            if name.startswith("compressing"):
                with disk.open("r+b") as file:
                    file.seek(40 * MIB)
                    file.write(b"a guest at work")
            return super().task(name, total, unit=unit, done=done)

    with pytest.raises(ContentError, match="was written to while it was read"):
        push(reference(registry), [DiskSource(disk, X86)], progress=Writing())
    with pytest.raises(NotFoundError):
        resolve(reference(registry), architecture=X86)


@pytest.mark.parametrize("source", [DiskFormat.RAW, DiskFormat.QCOW2])
def test_a_converted_disk_is_present_to_a_check_only_if_it_was_checked(registry, tmp_path, source):
    disk = raw_disk(tmp_path / "disk.raw", data_mib=16)
    kind, target = DiskType.parse("applehv"), DiskFormat.QCOW2
    if source is DiskFormat.QCOW2:
        disk = qcow2_disk(tmp_path / "disk.qcow2", disk)
        kind, target = DiskType.parse("qemu"), DiskFormat.RAW
    push(reference(registry), [DiskSource(disk, X86, kind)])

    def again(**options):
        out = tmp_path / "out"
        return pull(reference(registry), architecture=X86, disk_type=kind, output=out, as_format=target, **options)

    first = again()
    assert (first.status, again().status) == ("pulled", "present")
    assert again(check_disk=True, dry_run=True).status == "planned"
    checked = again(check_disk=True)
    assert (checked.status, checked.verified) == ("pulled", "frames")
    assert checked.moved.fetched < first.moved.fetched / 4, "its blocks are those of the file at the target"
    last = again(check_disk=True)
    assert (last.status, last.moved.fetched) == ("present", 0)
    assert again().status == "present"
    with (tmp_path / "out").open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"other")
    assert again(check_disk=True).status == "pulled"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("packed", [zstandard.compress, bytes], ids=["compressed", "plain"])
def test_a_disk_that_is_not_what_its_publisher_states(registry, tmp_path, packed):
    disk = raw_disk(tmp_path / "disk.raw", data_mib=2)
    plain = disk.read_bytes()
    stated = SizedDigest(Digest("0" * 64), len(plain))
    publish_blob(registry, "team/machine", "5.0", packed(plain), "m.raw", "applehv", disk=stated)
    out = tmp_path / "out.raw"
    with pytest.raises(DigestMismatch):
        pull(reference(registry), architecture=X86, output=out, check_disk=True)
    assert leftovers(tmp_path) == []
    assert not out.exists()
    assert pull(reference(registry), architecture=X86, output=out).status == "pulled"
    assert pull(reference(registry), architecture=X86, output=out).status == "present"
    with pytest.raises(DigestMismatch):
        pull(reference(registry), architecture=X86, output=out, check_disk=True)
    assert out.read_bytes() == plain

    converted = tmp_path / "out.qcow2"
    assert pull(reference(registry), architecture=X86, output=converted, as_format=DiskFormat.QCOW2).status == "pulled"
    before = sha256(converted)
    with pytest.raises(DigestMismatch):
        pull(reference(registry), architecture=X86, output=converted, as_format=DiskFormat.QCOW2, check_disk=True)
    assert (sha256(converted), leftovers(tmp_path)) == (before, [])

    stated = SizedDigest(Digest.of(plain), len(plain) + 4096)
    publish_blob(registry, "team/machine", "5.1", packed(plain), "m.raw", "applehv", disk=stated)
    with pytest.raises(ContentError, match="its manifest says"):
        pull(reference(registry, "5.1"), architecture=X86, output=tmp_path / "more.raw")
    assert leftovers(tmp_path) == []
