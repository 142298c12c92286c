"""Conversion with the real qemu-img, and what never reaches it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.support.disk_corpus import GOOD, HOSTILE, iso, qcow2

from haulout import DiskSource, pull, push
from haulout.disk import DiskFormat, _confine, inspect, qemu_img
from haulout.disk.convert import convert, uncompress
from haulout.errors import NotFoundError, StorageError, ToolError, UnsafeDiskError, UsageError
from haulout.oci import Architecture, LayoutReference

MIB = 1 << 20
SIZE = 64 * MIB
FORMATS = ["raw", "qcow2", "vhdx", "vmdk"]

pytestmark = pytest.mark.tools


@pytest.fixture(autouse=True, scope="module")
def real_tool():
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")


def to_raw(source, target):
    return convert(source, None, target, DiskFormat.RAW)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def qemu(*arguments):
    return subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One disk in all formats."""
    place = tmp_path_factory.mktemp("sources")
    with (place / "disk.raw").open("wb") as stream:
        stream.seek(MIB)
        stream.write(os.urandom(2 * MIB))
        stream.write(b"haulout " * (MIB // 8))
        stream.truncate(SIZE)
    for name, flags in {"qcow2": ["-c"], "vhdx": [], "vmdk": ["-o", "subformat=streamOptimized"]}.items():
        qemu("convert", "-f", "raw", "-O", name, *flags, place / "disk.raw", place / f"disk.{name}")
    return place


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    """A qemu-img first in PATH that writes down its arguments before it becomes the real one."""
    log = tmp_path / "argv.log"
    wrapper = tmp_path / "bin" / "qemu-img"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >>{log}\nexec {shutil.which("qemu-img")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    return lambda: log.read_text().split("\0")[:-1] if log.exists() else []


class Recorded:
    """A progress that remembers."""

    def __init__(self):
        self.tasks = []
        self.amounts = []

    def task(self, name, total, *, unit="B", done=0):
        self.tasks.append((name, total))
        return self

    def advance(self, amount):
        self.amounts.append(amount)

    def note(self, message):
        raise AssertionError(message)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_pair_of_formats_keeps_the_content(tmp_path, sources, source, target):
    path = tmp_path / f"out.{target}"
    progress = Recorded()
    info = convert(sources / f"disk.{source}", DiskFormat(source), path, DiskFormat(target), progress=progress)
    assert info == inspect(path)
    assert (info.format, info.virtual_size, info.compressed) == (target, SIZE, False)
    assert "identical" in qemu("compare", "-f", "raw", "-F", target, sources / "disk.raw", path)
    assert progress.tasks == [(f"converting to {target}", SIZE)]
    assert sum(progress.amounts) == SIZE
    assert info.allocated < 20 * MIB
    assert names(tmp_path) == [path.name]
    if target in {"qcow2", "vhdx"}:
        assert "No errors" in qemu("check", "-f", target, path)


def test_the_made_formats_are_what_hypervisors_take(tmp_path, sources):
    raw = sources / "disk.raw"
    convert(raw, DiskFormat.RAW, tmp_path / "a.qcow2", DiskFormat.QCOW2)
    theirs = json.loads(qemu("info", "--output=json", "-f", "qcow2", tmp_path / "a.qcow2"))
    assert theirs["cluster-size"] == 65536
    assert theirs["format-specific"]["data"]["compat"] == "1.1"
    assert theirs["format-specific"]["data"]["lazy-refcounts"] is False
    info = convert(raw, DiskFormat.RAW, tmp_path / "a.vmdk", DiskFormat.VMDK)
    assert info.details["kind"] == "monolithicSparse"
    assert b'SPARSE "a.vmdk"' in (tmp_path / "a.vmdk").read_bytes()[:4096]
    info = convert(raw, DiskFormat.RAW, tmp_path / "a.vhdx", DiskFormat.VHDX)
    assert info.details["kind"] == "dynamic"


def test_an_odd_size_is_rounded_up(tmp_path):
    (tmp_path / "odd").write_bytes(os.urandom(1_000_001))
    for target in FORMATS:
        assert convert(tmp_path / "odd", None, tmp_path / "out", DiskFormat(target)).virtual_size == 1_000_448


def test_shortcuts(tmp_path, sources):
    assert inspect(sources / "disk.qcow2").compressed
    assert not uncompress(sources / "disk.qcow2", tmp_path / "plain.qcow2").compressed
    assert to_raw(sources / "disk.qcow2", tmp_path / "plain.raw").file_size == SIZE
    assert (tmp_path / "plain.raw").read_bytes() == (sources / "disk.raw").read_bytes()


def test_formats_are_always_explicit_and_the_file_is_an_open_one(tmp_path, sources, recorder):
    to_raw(sources / "disk.qcow2", tmp_path / "out.raw")
    arguments = recorder()
    assert arguments[0] == "convert"
    assert arguments[arguments.index("-f") + 1] == "qcow2"
    assert arguments[arguments.index("-O") + 1] == "raw"
    assert arguments[-2].startswith("/proc/self/fd/")
    assert str(sources) not in " ".join(arguments)


@pytest.mark.parametrize("name", [*HOSTILE])
def test_what_is_refused_never_reaches_qemu(tmp_path, recorder, name):
    (tmp_path / "disk").write_bytes(HOSTILE[name][1]())
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises((UnsafeDiskError, UsageError)):
        convert(tmp_path / "disk", None, tmp_path / "target", DiskFormat.RAW)
    assert recorder() == []
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_backing_file_would_leak_and_does_not(tmp_path, recorder):
    secret = tmp_path / "secret"
    secret.write_bytes(b"top secret".ljust(MIB, b"!"))
    evil = tmp_path / "evil.qcow2"
    qemu("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", evil)
    before = len(recorder())
    with pytest.raises(UnsafeDiskError) as caught:
        to_raw(evil, tmp_path / "out.raw")
    assert caught.value.rule == "backing-file"
    assert len(recorder()) == before
    assert not (tmp_path / "out.raw").exists()


def test_a_raw_disk_with_a_qcow2_header_is_not_opened_as_either(tmp_path, recorder):
    (tmp_path / "disk").write_bytes(qcow2(backing=(0x200, 11), name=b"/etc/shadow"))
    with pytest.raises(UnsafeDiskError):
        convert(tmp_path / "disk", DiskFormat.RAW, tmp_path / "out", DiskFormat.QCOW2)
    assert recorder() == []


def test_a_disk_within_a_disk_is_refused(tmp_path):
    (tmp_path / "inner").write_bytes(qcow2(backing=(0x200, 11), name=b"/etc/shadow"))
    qemu("convert", "-f", "raw", "-O", "qcow2", tmp_path / "inner", tmp_path / "outer.qcow2")
    with pytest.raises(UnsafeDiskError) as caught:
        to_raw(tmp_path / "outer.qcow2", tmp_path / "out.raw")
    assert caught.value.rule == "nested"
    assert not (tmp_path / "out.raw").exists()


def test_an_optical_image_within_a_disk_comes_out(tmp_path):
    (tmp_path / "inner").write_bytes(iso())
    qemu("convert", "-f", "raw", "-O", "qcow2", tmp_path / "inner", tmp_path / "outer.qcow2")
    assert to_raw(tmp_path / "outer.qcow2", tmp_path / "out.raw").format is DiskFormat.ISO


@pytest.mark.parametrize("name", ["iso", "tar"])
def test_what_is_no_disk_of_sectors_does_not_convert(tmp_path, name):
    (tmp_path / "disk").write_bytes(GOOD[name][2]())
    with pytest.raises(UsageError, match=f"cannot convert {name}"):
        convert(tmp_path / "disk", None, tmp_path / "out", DiskFormat.QCOW2)
    (tmp_path / "raw").write_bytes(bytes(MIB))
    with pytest.raises(UsageError, match=f"to {name}"):
        convert(tmp_path / "raw", None, tmp_path / "out", DiskFormat(name))


def test_bad_places_are_errors_of_ours(tmp_path, sources):
    raw = sources / "disk.raw"
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "directory").mkdir()
    for target in ("link", "directory", "absent/out", "\0"):
        with pytest.raises(StorageError):
            convert(raw, None, tmp_path / target, DiskFormat.RAW)
    with pytest.raises(NotFoundError):
        convert(tmp_path / "absent", None, tmp_path / "out", DiskFormat.RAW)
    assert names(tmp_path) == ["directory", "link"]


def test_a_missing_tool_says_what_to_install(tmp_path, sources, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="is not installed") as caught:
        to_raw(sources / "disk.qcow2", tmp_path / "out")
    assert "qemu-utils" in str(caught.value.hint)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'qemu-img: something broke' >&2; exit 1", "something broke"),
        ("exit 0", "wrote nothing"),
        ("exit 3", "exit code 3"),
        ("kill -9 $$", "signal 9"),
        ("kill -XCPU $$", "processor time"),
        ("kill -XFSZ $$", "wrote more than"),
        ("printf '(nonsense/100%%) (99999.99/100%%)\\r'; exit 1", "exit code 1"),
    ],
)
def test_failures_of_the_tool_are_told_in_one_line(tmp_path, sources, monkeypatch, script, message):
    wrapper = tmp_path / "bin" / "qemu-img"
    wrapper.parent.mkdir()
    wrapper.write_text(f"#!/bin/sh\ncd {wrapper.parent}\n{script}\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    with pytest.raises(ToolError, match=message) as caught:
        to_raw(sources / "disk.qcow2", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["bin"]


def test_a_full_disk_is_a_storage_error(tmp_path, sources, monkeypatch):
    wrapper = tmp_path / "qemu-img"
    wrapper.write_text("#!/bin/sh\necho 'qemu-img: error while writing: No space left on device' >&2; exit 1\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(StorageError, match="no space left"):
        to_raw(sources / "disk.qcow2", tmp_path / "out")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_really_full_disk_says_so_even_where_temporary_files_go(tmp_path, sources, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(small))
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(StorageError, match="no space left") as caught:
            to_raw(sources / "disk.qcow2", small / "out")
        assert caught.value.path == str(small)
        assert names(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_child_is_limited_and_offline(tmp_path, sources, monkeypatch):
    wrapper = tmp_path / "qemu-img"
    wrapper.write_text(f"#!/bin/sh\ncat /proc/self/limits /proc/self/net/dev >{tmp_path}/seen\nexit 1\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolError):
        to_raw(sources / "disk.qcow2", tmp_path / "out")
    seen = (tmp_path / "seen").read_text()
    limits = {line[:25].strip(): line[25:].split()[0] for line in seen.splitlines() if line.startswith("Max ")}
    assert limits["Max address space"] == str(qemu_img.ADDRESS_SPACE)
    assert limits["Max core file size"] == "0"
    assert int(limits["Max cpu time"]) < 1000
    assert SIZE < int(limits["Max file size"]) < 2 * SIZE + 256 * MIB
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0:
        assert [line.split(":")[0].strip() for line in seen.splitlines() if ":" in line and "Max" not in line] == ["lo"]


SLOW = "#!/bin/sh\necho $$ >{pid}\nexec sleep 60\n"


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A qemu-img that never ends; returns a function that waits for its process id."""
    wrapper = tmp_path / "bin" / "qemu-img"
    wrapper.parent.mkdir()
    wrapper.write_text(SLOW.format(pid=tmp_path / "bin" / "pid"))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")

    def started():
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if (tmp_path / "bin" / "pid").exists() and (text := (tmp_path / "bin" / "pid").read_text().strip()):
                return int(text)
            time.sleep(0.01)
        pytest.fail("it never started")

    return started


def gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_an_interrupt_ends_the_tool_and_leaves_nothing(tmp_path, sources, slow):
    found = []

    def interrupt():
        found.append(slow())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        to_raw(sources / "disk.qcow2", tmp_path / "out")
    thread.join()
    assert gone(found[0])
    assert names(tmp_path) == ["bin"]


def test_a_killed_parent_takes_the_tool_with_it(tmp_path, sources, slow):
    code = "import sys; from haulout.disk import *; convert(sys.argv[1], None, sys.argv[2], DiskFormat.RAW)"
    environment = {**os.environ, "PYTHONPATH": str(Path(qemu_img.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(sources / "disk.qcow2"), str(tmp_path / "out")], env=environment
    ) as parent:
        pid = slow()
        parent.kill()
        parent.wait()
    assert gone(pid)
    assert not (tmp_path / "out").exists()


def test_a_stalled_tool_is_given_up(tmp_path, sources, slow, monkeypatch):
    monkeypatch.setattr(qemu_img, "_STALL", 0.5)
    with pytest.raises(ToolError, match="no progress"):
        to_raw(sources / "disk.qcow2", tmp_path / "out")
    assert gone(slow())


def test_names_that_look_like_something_else(tmp_path, sources, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("json:{}", "nbd:x", "-f", "a b", "ü.raw", "fat:rw:x"):
        shutil.copy(sources / "disk.qcow2", tmp_path / name)
        assert to_raw(name, f"out {name}").virtual_size == SIZE
        assert (tmp_path / f"out {name}").stat().st_size == SIZE


def test_a_compressed_disk_of_any_format_is_pushed_without_its_compression(tmp_path, sources):
    for name in ("qcow2", "vmdk"):
        reference = LayoutReference(str(tmp_path / "layout"), name, None)
        push(reference, [DiskSource(sources / f"disk.{name}", Architecture.X86_64)])
        pulled = pull(reference, architecture=Architecture.X86_64, output=tmp_path / f"out.{name}")
        info = inspect(pulled.path)
        assert (info.format, info.compressed) == (name, False)
        assert "identical" in qemu("compare", "-f", "raw", "-F", name, sources / "disk.raw", pulled.path)


def test_outside_linux_the_child_has_the_limits_there_are(tmp_path):
    wrapper = tmp_path / "tool"
    wrapper.write_text(f"#!/bin/sh\ncat /proc/self/limits >{tmp_path}/seen\n")
    wrapper.chmod(0o755)
    script = f"import sys, runpy; sys.platform = 'darwin'; runpy.run_path({_confine.__file__!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", script, "1000", "77", "9999", str(os.getpid()), wrapper], check=True)
    limits = {line[:25].strip(): line[25:].split()[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert (limits["Max cpu time"], limits["Max file size"], limits["Max core file size"]) == ("77", "9999", "0")
    assert limits["Max address space"] != "1000"
