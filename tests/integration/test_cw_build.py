"""``haulout cw build`` and ``cw inspect`` for real: stores, brokers, other tools, full disks, kills, and bad input."""

from __future__ import annotations

import http.server
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.support import workloads
from tests.support.disks import qemu_encrypts
from tests.support.servers import docker_registry, find, issue_tls, needs

from haulout.cli.main import main
from haulout.content.layout import LayoutStore
from haulout.oci import Descriptor, Index, Manifest, Platform, mediatype
from haulout.workload import krun

MEASUREMENT = "ab" * 48
SECRET = "a passphrase nobody may see"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    Path("root/etc").mkdir(parents=True)
    Path("root/etc/motd").write_text("hello from inside\n")
    Path("pass").write_text(SECRET + "\n")
    return tmp_path


def run(capsys, *arguments):
    code = main(["cw", *map(str, arguments)])
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    return code, told.out, told.err


def built(capsys, *arguments):
    code, out, err = run(capsys, "build", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def layer_of(reference_folder, tag):
    with LayoutStore(reference_folder) as store:
        manifest = store.manifest(tag).parse("it")
        assert isinstance(manifest, Manifest)
        with store.open_blob(manifest.layers[-1]) as stream:
            data = stream.read(manifest.layers[-1].size)
    return tarfile.open(fileobj=io.BytesIO(data))


def make_image(folder="app", arm=False):
    """An image of two layers, the second of which takes a file away."""
    with LayoutStore(folder, create=True) as store:
        layers, plain = [], []
        for files in ({"etc/motd": b"one\n", "etc/gone": b"x"}, {"etc/.wh.gone": b"", "bin/app": b"#!/bin/sh\n"}):
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w:gz") as tar:
                for name, data in files.items():
                    info = tarfile.TarInfo(name)
                    info.size, info.uid, info.gid, info.mode = len(data), 1234, 5678, 0o4755
                    tar.addfile(info, io.BytesIO(data))
            data = archive.getvalue()
            layers.append(Descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", data))
            plain.append(str(layers[-1].digest))
            store.push_blob(layers[-1], partial(io.BytesIO, data))
        config = json.dumps(
            {
                "created": "2020-02-02T00:00:00Z",
                "author": "an author",
                "architecture": "arm64" if arm else "amd64",
                "os": "linux",
                "config": {"Env": ["TOKEN=inner"], "Labels": {"inner": "label"}, "Cmd": ["/bin/app"]},
                "rootfs": {"type": "layers", "diff_ids": plain},
                "history": [{"created_by": "inner history"}],
            }
        ).encode()
        described = Descriptor.of(mediatype.OCI_CONFIG, config)
        store.push_blob(described, lambda: io.BytesIO(config))
        manifest = Manifest(described, tuple(layers), annotations={"inner": "annotation"})
        pushed = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        entry = Descriptor(
            pushed.media_type, pushed.digest, pushed.size, platform=Platform("arm64" if arm else "amd64", "linux")
        )
        index = Index((entry,))
        store.push_manifest(index.to_bytes(), index.media_type, "1")
    return config


@pytest.mark.tools
@needs("qemu-img", "debugfs", "e2fsck", "skopeo")
def test_an_image_becomes_a_disk_that_other_tools_read(capsys, place):
    config = make_image()
    Path("extra").write_text("added\n")
    done = built(
        capsys, "oci:app:1", "oci:out:1", "--passphrase-out", "key", "--add-file", "extra:/etc/extra", "-w", "web",
        "-c", "3", "-m", "1024", "--timestamp", "1700000000", "--slop", "200%+1MB",
    )  # fmt: skip
    assert done["config"] == {"tee": "snp", "workload_id": "web", "cpus": 3, "ram_mib": 1024, "attestation_url": ""}
    assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    assert len(Path("key").read_bytes()) == 64
    archive = layer_of("out", "1")
    names = [(member.name, member.mode, member.uid, member.mtime) for member in archive]
    assert names == [
        ("entrypoint", 0o755, 0, 1700000000),
        ("krun-sev.json", 0o600, 0, 1700000000),
        ("tmp", 0o1777, 0, 1700000000),
        ("disk.img", 0o600, 0, 1700000000),
        ("haulout-binding.json", 0o600, 0, 1700000000),
    ]
    archive.extract("disk.img", filter="data")
    options = "driver=luks,key-secret=k,file.filename=disk.img"
    subprocess.run(
        ["qemu-img", "convert", "--object", "secret,id=k,file=key", "--image-opts", options, "-O", "raw", "plain"],
        check=True,
        timeout=60,
    )
    offset = done["binding"]["verity"]["hash_offset"]
    assert offset == done["disk"]["file_system_size"]
    with Path("plain").open("r+b") as file:
        file.truncate(offset)
    assert subprocess.run(["e2fsck", "-fn", "plain"], capture_output=True, check=False, timeout=60).returncode == 0

    def debugfs(what):
        done = subprocess.run(["debugfs", "-R", what, "plain"], capture_output=True, check=True, timeout=60)
        return done.stdout.decode()

    assert debugfs("cat /etc/motd") == "one\n"
    assert debugfs("cat /etc/extra") == "added\n"
    assert debugfs("cat /.krun_config.json") == config.decode()
    assert debugfs("cat /etc/gone") == ""
    assert "User:  1234   Group:  5678" in debugfs("stat /bin/app")
    assert "Mode:  04755" in debugfs("stat /bin/app")
    for path in Path("out").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for inner in (b"TOKEN=inner", b"inner", b"an author", b"2020-02-02", b"hello"):
                assert inner not in data, path
    code, out, _ = run(capsys, "inspect", "oci:out:1", "--passphrase-file", "key", "--json")
    found = json.loads(out)
    assert (code, found["broken"], found["opened"]["verity"]) == (0, [], "verified")
    assert found["opened"]["command"] == ["/bin/app"]
    assert found["binding"] == done["binding"]
    subprocess.run(["skopeo", "copy", "-q", "oci:out:1", "dir:copied"], check=True, timeout=60)


@pytest.mark.tools
@needs("docker-registry", "skopeo")
def test_from_registry_to_registry(capsys, place):
    make_image()
    with docker_registry(place) as server:
        subprocess.run(
            ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", "oci:app:1", f"docker://{server.host}/app:1"],
            check=True,
            timeout=60,
        )
        reference = f"{server.host}/secret:1"
        done = built(capsys, f"{server.host}/app:1", reference, "--passphrase-file", "pass", "--type", "tdx")
        code, out, _ = run(capsys, "inspect", reference, "--passphrase-file", "pass")
        assert code == 0
        assert "no rule is broken" in out
        assert done["binding"]["mrconfigid"] in out
        assert built(capsys, "root", f"{server.host}/secret:2", "--passphrase-file", "pass", "--base-image", reference)
    assert not [path for path in place.iterdir() if path.name.startswith("haulout-")]


def test_the_layers_of_a_base_image_lie_below(capsys):
    make_image()
    built(capsys, "root", "oci:out:1", "--passphrase-file", "pass", "-b", "oci:app:1")
    with LayoutStore("out") as store:
        manifest = store.manifest("1").parse("it")
        assert isinstance(manifest, Manifest)
        assert len(manifest.layers) == 3
    code, out, _ = run(capsys, "inspect", "oci:out:1", "--passphrase-file", "pass", "--json")
    assert (code, json.loads(out)["broken"]) == (0, [])


def test_for_arm_the_image_of_arm_is_taken(capsys):
    make_image(arm=True)
    done = built(capsys, "oci:app:1", "oci:out:1", "--passphrase-file", "pass", "-t", "CCA")
    assert done["config"]["tee"] == "cca"
    code, _, err = run(capsys, "build", "oci:app:1", "oci:out:1", "--passphrase-file", "pass", "-t", "snp")
    assert (code, err) == (
        4,
        "haulout: oci:app:1 holds no image for linux/amd64\n  hint: it holds images for linux/arm64\n",
    )


def test_the_words_of_buildah_are_understood(capsys):
    done = built(
        capsys,
        "root",
        "oci:out:1",
        "--cw",
        "type=sev-no-es,workload-id=w,cpus=4,memory=64,slop=10%,passphrase_file=pass",
    )
    assert done["config"] == {"tee": "sev", "workload_id": "w", "cpus": 4, "ram_mib": 64, "attestation_url": ""}


class Broker:
    """Takes registrations on loopback."""

    def __init__(self, status):
        self.status = status
        self.got = []


@contextmanager
def broker(status=200, tls=None):
    state = Broker(status)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            state.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(state.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}", state
        finally:
            server.shutdown()
            thread.join()


def test_a_broker_is_told_the_passphrase_that_opens_the_disk(capsys):
    with broker() as (url, state):
        done = built(capsys, "root", "oci:out:1", "-u", url, "--measurement", MEASUREMENT, "-w", "web")
    [(path, told)] = state.got
    assert path == "/kbs/v0/register_workload"
    assert (told["workload_id"], told["launch_measurement"]) == ("web", MEASUREMENT)
    assert json.loads(told["tee_config"])["flags"]["bits"] == 3
    assert (done["registered"], done["measurement"]) == (True, MEASUREMENT)
    Path("told").write_text(told["passphrase"])
    code, out, _ = run(capsys, "inspect", "oci:out:1", "--passphrase-file", "told", "--json")
    assert (code, json.loads(out)["opened"]["verity"]) == (0, "verified")
    assert json.loads(out)["measurement"] == f"snp:{MEASUREMENT}"


def test_a_broker_over_tls_is_trusted_by_its_authority_alone(capsys, place):
    files = issue_tls(place / "tls")
    with broker(tls=files) as (url, state):
        code, _, err = run(capsys, "build", "root", "oci:out:1", "-u", url, "--measurement", MEASUREMENT)
        assert (code, "is not trusted" in err, state.got) == (6, True, [])
        built(capsys, "root", "oci:out:1", "-u", url, "--measurement", MEASUREMENT, "--ca-file", files.ca)
    assert len(state.got) == 1


@pytest.mark.parametrize(("status", "code"), [(500, 7), (401, 5), (302, 7)])
def test_where_the_broker_refuses_no_image_is_left(capsys, status, code):
    with broker(status) as (url, _):
        given = ("build", "root", "oci:out:1", "-u", url, "--measurement", MEASUREMENT, "--passphrase-out", "key")
        found, _, err = run(capsys, *given)
        assert (found, f"answers {status}" in err or f"({status})" in err) == (code, True), err
        assert not Path("key").exists()
        with LayoutStore("out") as store:
            assert list(store.tags()) == []
        done, _, err = run(capsys, *given, "--ignore-attestation-errors", "--progress", "plain")
        assert done == 0
        assert "could not register with the broker" in err


@pytest.mark.tools
@needs("buildah")
def test_an_image_of_buildahs_mkcw_is_inspected_and_opened(capsys, place, monkeypatch):
    program = os.environ.get("HAULOUT_BUILDAH") or shutil.which("buildah")
    assert program is not None
    if subprocess.run([program, "mkcw", "--help"], capture_output=True, check=False, timeout=60).returncode:
        pytest.skip("this buildah has no mkcw (1.32 and later do; HAULOUT_BUILDAH may name one)")
    helpers = place / "helpers"
    helpers.mkdir()
    for name in ("netavark", "aardvark-dns"):
        # Asked for, and never run: nothing here has a network.
        (helpers / name).write_text("#!/bin/sh\nexit 1\n")
        (helpers / name).chmod(0o755)
    (place / "containers.conf").write_text(f'[engine]\nhelper_binaries_dir = ["{helpers}"]\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(place / "containers.conf"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")

    def buildah(*arguments):
        argv = [program, "--root", str(place / "storage"), "--runroot", str(place / "run"), "--storage-driver", "vfs"]
        done = subprocess.run([*argv, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    container = buildah("from", "scratch")
    buildah("copy", container, "root", "/")
    buildah("config", "--env", "TOKEN=inner", "--cmd", '["/bin/sh"]', container)
    buildah("commit", container, "localhost/inner:1")
    # Its passphrase is an argument: that is why ours is not.
    buildah(
        "mkcw", "-p", "open-sesame", "-w", "wid", "--ignore-attestation-errors", "localhost/inner:1", "localhost/o:1"
    )
    buildah("push", "-q", "localhost/o:1", "oci:theirs:1")
    Path("theirs.pass").write_text("open-sesame")
    code, out, _ = run(capsys, "inspect", "oci:theirs:1", "--passphrase-file", "theirs.pass", "--json")
    found = json.loads(out)
    assert (code, found["broken"], found["binding"]) == (0, [], None)
    assert found["config"]["workload_id"] == "wid"
    assert found["image"]["leaks"] == ["history (1)"]
    assert found["disk"]["luks"]["payload_offset"] == 2068480
    assert (found["opened"]["command"], found["opened"]["verity"]) == (["/bin/sh"], "absent")


def small_file_system(size):
    """A file system of its own, if this process may make one; None otherwise."""
    folder = Path("small")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return folder if done.returncode == 0 else None


def test_a_full_disk_leaves_nothing_but_one_line(capsys, place):
    small = small_file_system("6m")
    if small is None:
        pytest.skip("this process may not mount a small file system")
    try:
        code, _, err = run(capsys, "build", "root", f"oci:{small}/out:1", "--passphrase-out", "key")
        assert code == 10
        assert "the file system is full" in err
        assert err.count("\n") == 2
        assert not Path("key").exists()
        assert [path.name for path in (small / "out/blobs/sha256").iterdir()] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_policy_that_cannot_be_written_is_told_before_the_work(capsys, place):
    code, _, err = run(
        capsys, "build", "root", "oci:out:1", "--passphrase-out", "key", "--policy-out", "no/policy.toml"
    )
    assert code == 10
    assert err == "haulout: no/policy.toml: no such folder: no\n"
    assert sorted(path.name for path in Path().iterdir()) == ["pass", "root"]


def test_hashes_that_find_no_room_are_one_line(capsys, place, monkeypatch):
    small = small_file_system("16k")
    if small is None:
        pytest.skip("this process may not mount a small file system")
    try:
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(small))
            code, _, err = run(capsys, "build", "root", "oci:out:1", "--passphrase-out", "key")
        assert code == 10
        assert "cannot hold the hashes: the file system is full" in err
        assert "TMPDIR" in err
        assert not Path("key").exists()
        assert list(Path("out/blobs/sha256").iterdir()) == []
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.7])
def test_a_killed_build_leaves_the_old_image_and_no_key(capsys, place, after):
    built(capsys, "root", "oci:out:1", "--passphrase-out", "old")
    before = Path("out/index.json").read_bytes()
    Path("root/large").write_bytes(os.urandom(64 << 20))
    argv = [sys.executable, "-m", "haulout", "cw", "build", "root", "oci:out:1", "--passphrase-out", "new"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    blobs = Path("out/blobs/sha256")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.name.startswith(".partial-") and path.stat().st_size > 4 << 20 for path in blobs.iterdir()):
            break
        time.sleep(0.005)
    time.sleep(after)
    finished = process.poll() is not None
    if not finished:
        process.send_signal(signal.SIGKILL)
        process.wait()
    if Path("out/index.json").read_bytes() == before:
        assert run(capsys, "inspect", "oci:out:1", "--passphrase-file", "old")[0] == 0
    else:
        assert run(capsys, "inspect", "oci:out:1", "--passphrase-file", "new")[0] == 0
    strays = {path.name for path in place.iterdir()} - {"root", "pass", "out", "old", "new"}
    assert strays == set()
    Path("new").unlink(missing_ok=True)
    built(capsys, "root", "oci:out:1", "--passphrase-out", "new")
    assert not [path.name for path in blobs.iterdir() if path.name.startswith(".partial-")]


def test_a_passphrase_is_never_replaced(capsys):
    Path("key").write_text("the only key to another disk")
    code, _, err = run(capsys, "build", "root", "oci:out:1", "--passphrase-out", "key")
    assert code == 10
    assert "the file exists" in err
    assert Path("key").read_text() == "the only key to another disk"
    assert not Path("out").exists()


BAD = {
    "no passphrase": (["root", "oci:out:1"], 2, "no place was given for the disk's passphrase"),
    "passphrase in argv": (["root", "oci:out:1", "-p", SECRET], 2, "every process of this machine"),
    "passphrase in --cw": (["root", "oci:out:1", "--cw", f"passphrase={SECRET}"], 2, "every process of this machine"),
    "no passphrase file": (["root", "oci:out:1", "--passphrase-file", "nowhere"], 4, "no such file: nowhere"),
    "folder as passphrase": (["root", "oci:out:1", "--passphrase-file", "root"], 10, "is a directory"),
    "empty passphrase": (["root", "oci:out:1", "--passphrase-file", "/dev/null"], 2, "is empty"),
    "endless passphrase": (["root", "oci:out:1", "--passphrase-file", "/dev/zero"], 2, "longer than"),
    "NUL in a name": (["root", "oci:out:1", "--passphrase-file", "a\0b"], 10, "it is not a file name"),
    "both passphrases": (["root", "oci:out:1", "--passphrase-file", "pass", "--passphrase-out", "k"], 2, "cannot be combined"),
    "not an image": (["pass", "oci:out:1", "--passphrase-file", "pass"], 2, "neither a directory nor an image"),
    "no such image": (["oci:app:7", "oci:out:1", "--passphrase-file", "pass"], 4, "no tag 7"),
    "no such layout": (["oci:nowhere:1", "oci:out:1", "--passphrase-file", "pass"], 4, "nowhere"),
    "an artifact": (["oci:artifact:1", "oci:out:1", "--passphrase-file", "pass"], 8, "is not a container image"),
    "a digest as DEST": (["root", f"oci:out@sha256:{'0' * 64}", "--passphrase-file", "pass"], 2, "names existing content"),
    "unknown TEE": (["root", "oci:out:1", "--passphrase-file", "pass", "-t", "sgx"], 2, "unknown TEE 'sgx'"),
    "too many processors": (
        ["root", "oci:out:1", "--cw", "cpus=300,passphrase_file=pass"], 2, "--cpus must be between 1 and 255 (got 300)",
    ),
    "two measurements": (
        ["root", "oci:out:1", "--passphrase-file", "pass", "--ovmf", "x", "--measurement", "ab"], 2, "cannot be combined",
    ),
    "kernel alone": (["root", "oci:out:1", "--passphrase-file", "pass", "--kernel", "x"], 2, "only with --ovmf"),
    "folder as key": (["root", "oci:out:1", "--passphrase-file", "pass", "--broker-key", "root"], 10, "is a directory"),
    "no processors": (["root", "oci:out:1", "--passphrase-file", "pass", "-c", "0"], 2, "cpus"),
    "odd workload": (["root", "oci:out:1", "--passphrase-file", "pass", "-w", "a/../b"], 2, "is not a workload id"),
    "parent as workload": (["root", "oci:out:1", "--passphrase-file", "pass", "-w", ".."], 2, "is not a workload id"),
    "parent in --cw": (["root", "oci:out:1", "--cw", "workload_id=.,passphrase_file=pass"], 2, "is not a workload id"),
    "too much memory": (["root", "oci:out:1", "--cw", "memory=9999999999,passphrase_file=pass"], 2, "(got 9999999999)"),
    "odd slop": (["root", "oci:out:1", "--passphrase-file", "pass", "-s", "much"], 2, "is not a percentage or size"),
    "unknown key": (["root", "oci:out:1", "--cw", "colour=red"], 2, "unknown key 'colour'"),
    "said twice": (["root", "oci:out:1", "--passphrase-file", "pass", "-c", "2", "--cw", "cpus=3"], 2, "cpus is given both"),
    "plain HTTP": (["root", "oci:out:1", "-u", "http://broker.example.com", "--measurement", MEASUREMENT], 2, "unencrypted"),
    "no measurement": (["root", "oci:out:1", "-u", "http://127.0.0.1:1"], 2, "launch measurement"),
    "no broker": (["root", "oci:out:1", "-u", "http://127.0.0.1:1", "--measurement", MEASUREMENT], 6, "nothing listens"),
    "file leaving": (["root", "oci:out:1", "--passphrase-file", "pass", "--add-file", "pass:/../x"], 2, "leads out"),
    "no file to add": (["root", "oci:out:1", "--passphrase-file", "pass", "--add-file", "no:/x"], 4, "no such file: no"),
    "file in a file": (["root", "oci:out:1", "--passphrase-file", "pass", "--add-file", "pass:/etc/motd/x"], 8, "motd"),
    "no key": (["root", "oci:out:1", "--passphrase-file", "pass", "--broker-key", "pass"], 2, "does not hold a public key"),
    "policy for SEV": (
        ["root", "oci:out:1", "--passphrase-file", "pass", "-t", "sev", "--policy-out", "p"], 2, "names no workload",
    ),
    "escape": (["oci:escape:1", "oci:out:1", "--passphrase-file", "pass"], 8, "escape"),
    "another architecture": (["oci:arm:1", "oci:out:1", "--passphrase-file", "pass"], 8, "is for arm64"),
    "configuration of another form": (["oci:list:1", "oci:out:1", "--passphrase-file", "pass"], 8, "configuration"),
    "damaged layer": (["oci:damaged:1", "oci:out:1", "--passphrase-file", "pass"], 8, "layer"),
    "layout without tag": (["app", "oci:out:1", "--passphrase-file", "pass"], 2, "is an OCI image layout"),
    "no firmware tool": (
        ["root", "oci:out:1", "--passphrase-file", "pass", "-f", "/lib/libkrunfw-sev.so.5"], 11, "krunfw_measurement",
    ),
    "no OVMF": (["root", "oci:out:1", "--passphrase-file", "pass", "--ovmf", "nowhere"], 10, "nowhere"),
}  # fmt: skip


def hostile_images():
    make_image()
    with LayoutStore("artifact", create=True) as store:
        from haulout.oci import EMPTY, empty_config_manifest

        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        manifest = empty_config_manifest((), artifact_type="application/x")
        store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
    for name in ("escape", "damaged", "arm", "list"):
        with LayoutStore(name, create=True) as store:
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.addfile(tarfile.TarInfo("../escape" if name == "escape" else "fine"))
            data = archive.getvalue()
            layer = Descriptor.of("application/vnd.oci.image.layer.v1.tar", data)
            config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
            config = {"arm": config.replace(b"amd64", b"arm64"), "list": b"[]"}.get(name, config)
            described = Descriptor.of(mediatype.OCI_CONFIG, config)
            store.push_blob(layer, partial(io.BytesIO, data))
            store.push_blob(described, partial(io.BytesIO, config))
            manifest = Manifest(described, (layer,))
            store.push_manifest(manifest.to_bytes(), manifest.media_type, "1")
        if name == "damaged":
            path = Path("damaged/blobs/sha256") / layer.digest.hex
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_with_a_way_out(name, capsys):
    hostile_images()
    arguments, wanted, text = BAD[name]
    code, out, err = run(capsys, "build", *arguments)
    assert (code, out) == (wanted, ""), err
    assert text in err
    lines = err.splitlines()
    assert lines[0].startswith("haulout: ")
    assert len(lines) <= 2
    assert "Traceback" not in err
    if Path("out").exists():
        with LayoutStore("out") as store:
            assert list(store.tags()) == []


def test_bad_input_of_inspect(capsys):
    hostile_images()
    built(capsys, "root", "oci:out:1", "--passphrase-file", "pass")
    Path("other").write_text("another")
    for arguments, wanted, text in (
        (["oci:app:1"], 8, "is not a confidential image"),
        (["oci:artifact:1"], 8, "is not a container image"),
        (["oci:out:1", "--passphrase-file", "other"], 5, "does not open"),
        (["root"], 2, "is a directory"),
        (["./nowhere"], 4, "no such file"),
        (["oci:out:9"], 4, "no tag 9"),
    ):
        code, _, err = run(capsys, "inspect", *arguments)
        assert (code, text in err) == (wanted, True), err
        assert len(err.splitlines()) <= 2
    code, _, err = run(capsys, "inspect", "pass")
    assert code == 8
    assert "neither a LUKS header nor a footer" in err


def disk_tag(reference="oci:machines:5.0"):
    Path("disk.raw").write_bytes(bytes(510) + b"\x55\xaa" + os.urandom(1 << 20))
    assert main(["push", reference, "disk.raw", "--arch", "x86_64", "--type", "raw"]) == 0


def test_a_tag_of_disks_is_not_said_to_lack_an_image(capsys):
    disk_tag()
    capsys.readouterr()
    code, _, err = run(capsys, "inspect", "oci:machines:5.0")
    assert (code, err) == (
        4,
        """haulout: oci:machines:5.0 holds disks, not a confidential image
  hint: haulout inspect oci:machines:5.0 lists them
""",
    )
    code, _, err = run(capsys, "build", "oci:machines:5.0", "oci:out:1", "--passphrase-file", "pass")
    assert (code, err.splitlines()[0]) == (4, "haulout: oci:machines:5.0 holds disks, not a container image")
    with LayoutStore("machines") as store:
        index = store.manifest("5.0").parse("it")
    assert isinstance(index, Index)
    disk = f"oci:machines@{index.manifests[0].digest}"
    code, _, err = run(capsys, "inspect", disk)
    assert (code, err.splitlines()[0]) == (8, f"haulout: {disk} is a disk, not a confidential image")


def test_standard_input_brings_a_passphrase(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{SECRET}\n".encode())))
    built(capsys, "root", "oci:out:1", "--passphrase-file", "-")
    assert run(capsys, "inspect", "oci:out:1", "--passphrase-file", "pass")[0] == 0


def test_the_firmware_of_libkrun_is_measured_by_its_own_program(capsys, place, monkeypatch):
    tool = place / "bin/krunfw_measurement"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\n[ "$*" = "-c 2 -m 512 lib.so" ] || exit 1\necho SEV: {"cd" * 32}\necho SNP: {"ef" * 48}\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    done = built(capsys, "root", "oci:out:1", "--passphrase-file", "pass", "-f", "lib.so")
    assert done["measurement"] == "ef" * 48
    code, _, err = run(capsys, "build", "root", "oci:out:2", "--passphrase-file", "pass", "-f", "x.so")
    assert (code, "cannot measure x.so" in err) == (11, True)


def test_nothing_that_runs_beside_sees_the_passphrase(capsys, place):
    assert find("sh") is not None
    built(capsys, "root", "oci:out:1", "--passphrase-file", "pass")
    for path in Path("out").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()


@pytest.mark.tools
@needs("qemu-img", "mke2fs")
def test_an_image_laid_out_by_hand_as_mkcw_lays_it_out_is_opened(place):
    """Without a buildah that has mkcw: QEMU encrypts, with the same geometry, and no binding is there."""
    Path("root/.krun_config.json").write_text('{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh"]}}')
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", "root", "plain", "10M"], check=True, capture_output=True)
    Path("pass").write_text(SECRET)
    options = ["--object", "secret,id=k,file=pass", "-O", "luks", "-o", "key-secret=k,iter-time=10"]
    qemu_encrypts("convert", "-f", "raw", *options, "plain", "disk")
    document, bare = workloads.config().to_bytes(), Path("disk").read_bytes()
    disk = bare + bytes(krun.padding(len(bare), document)) + krun.footer(document)
    files = {"entrypoint": b"x", krun.CONFIG_NAME: document, krun.DISK_NAME: disk}
    found = workloads.inspected(files, SECRET.encode())
    assert workloads.rules(found) == []
    assert found.unlocked is not None
    assert (found.unlocked.command, found.unlocked.verity, found.binding) == (("/bin/sh",), "absent", None)
