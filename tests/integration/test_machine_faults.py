"""What happens to machines: faults of the host, of programs and of guests. One machine for most, to save boots."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from demo.disks import START, pack_initrd, run
from tests.support.machines import listed, machines, rootless, supervisor, tiny_image, until, vm
from tests.support.mounts import mounted
from tests.support.sandbox import ROOT

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]
OPTIONS = ("--cpus", "1", "--memory", "256", "--disk", "1")
STORE = ".local/share/containers"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with machines(tmp_path_factory.mktemp("machines")) as place:
        place.environment["HAULOUT_MACHINE_START_NO_CONNECT"] = "1"
        done = place.haulout("machine", "init", "web", "oci:machines:5.0", *OPTIONS)
        assert done.code == 0, done.err
        yield place


def folder(place, name="web"):
    return Path(place.environment["XDG_DATA_HOME"], "haulout/machines", name)


def runtime(place, name="web"):
    return Path(place.environment["XDG_RUNTIME_DIR"], "haulout", name)


def start(place, *more, name="web"):
    done = place.haulout("machine", "start", name, *more)
    assert done.code == 0, done.err
    return done


def stop(place, seconds="0", name="web"):
    done = place.haulout("machine", "stop", name, "--wait", seconds)
    assert done.code == 0, done.err
    # They have let go of the machine, and are about to leave.
    until(lambda: vm(place, name) == supervisor(place, name) == [], 30)
    return done


def ssh(place, script, name="web"):
    done = place.haulout("machine", "ssh", name, "--", "sh", "-c", script)
    assert done.code == 0, done.err
    return done.out


def begun(place, *words):
    return subprocess.Popen(
        ["haulout", "machine", *words], env=place.environment, cwd=place.path, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def boot_sector(place, name, code, text=b""):
    """Publish a disk that does this at its start; ``si`` is the address of the text, ``dx`` the serial port."""
    sector = bytes.fromhex("31c0 8ed8 fc be 007d ba f803") + code + b"\xf4\xeb\xfd"
    disk = bytearray(1 << 20)
    disk[: len(sector)], disk[256 : 256 + len(text)], disk[510:512] = sector, text, b"\x55\xaa"
    (place.path / f"{name}.raw").write_bytes(disk)
    publish(place, name, "64")


def publish(place, name, memory):
    done = place.shell(
        f"haulout push oci:{name}:1 {name}.raw --arch x86_64 --force && "
        f"haulout machine init {name} oci:{name}:1 --cpus 1 --memory {memory} --disk 1 --accelerator tcg"
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is not JSON"),
        (b'{"schema": 1, "na', "is not JSON"),
        (b'{"schema": 99}', "newer haulout"),
        (None, "the folder is 'other'"),
    ],
)
def test_a_broken_machine_file_is_that_machines_trouble_alone(place, text, says):
    other = folder(place, "other")
    other.mkdir()
    (other / "machine.json").write_bytes(text if text is not None else (folder(place) / "machine.json").read_bytes())
    found = listed(place)
    assert (found["other"]["state"], found["web"]["state"], found["web"]["problem"]) == ("broken", "stopped", None)
    assert says in found["other"]["problem"]
    done = place.haulout("machine", "start", "other")
    assert (done.code, says in done.err, "Traceback" in done.err) == (2, True, False)
    assert (other / "machine.json").exists()
    assert place.haulout("machine", "stop", "other").code == 0
    assert place.haulout("machine", "rm", "other").code == 0
    assert not other.exists()


@pytest.mark.parametrize(
    "verb", [("start",), ("stop",), ("rm",), ("set", "--cpus", "1"), ("inspect",), ("logs",), ("restart",)]
)
def test_a_machine_that_is_not_there_leaves_no_trace(place, verb):
    done = place.haulout("machine", verb[0], "nobody", *verb[1:])
    assert (done.code, "there is no machine nobody" in done.err) == (4, True)
    assert not folder(place, "nobody").exists()


def test_a_port_that_is_taken(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert place.haulout("machine", "set", "web", "--publish", f"{port}:80").code == 0
        (folder(place) / "console.log").write_text("of the life before\n")
        done = place.haulout("machine", "start", "web")
        assert (done.code, str(port) in done.err) == (13, True), done.err
        assert "the life before" not in done.err
        assert str(port) in listed(place)["web"]["ended"]
        until(lambda: vm(place, "web") == supervisor(place, "web") == [], 30)
    document = json.loads((folder(place) / "machine.json").read_text())
    (folder(place) / "machine.json").write_text(json.dumps(document | {"forwards": []}))


@pytest.mark.parametrize(("script", "says"), [("echo no more >&2; exit 3", "no more"), ("exit 0", "exit code 0")])
def test_a_qemu_that_dies_at_once(place, tmp_path, script, says):
    done = place.haulout("machine", "start", "web", PATH=fake_qemu(place, tmp_path, script))
    assert (done.code, says in done.err) == (13, True), done.err
    until(lambda: supervisor(place, "web") == [], 30)


def test_a_qemu_that_hangs_at_its_start_is_stopped_by_stop(place, tmp_path):
    path = fake_qemu(place, tmp_path, "exec sleep 300")
    with begun(_with(place, PATH=path), "start", "web") as starting:
        until(lambda: listed(place)["web"]["waiting_for"] == "starting QEMU (tcg)")
        stop(place)
        _, err = starting.communicate(timeout=20)
    assert starting.returncode == 13, err
    assert listed(place)["web"]["ended"] == "stopped: it had not begun"


def _with(place, **environment):
    from dataclasses import replace

    return replace(place, environment=place.environment | environment)


def fake_qemu(place, tmp_path, script):
    path = tmp_path / "bin/qemu-system-x86_64"
    path.parent.mkdir()
    real = shutil.which("qemu-system-x86_64")
    path.write_text(f'#!/bin/sh\ncase $* in *isa-debug-exit*) exec {real} "$@";; esac\n{script}\n')
    path.chmod(0o755)
    return f"{path.parent}:{place.environment['PATH']}"


def test_a_runtime_directory_that_is_too_long(place, tmp_path):
    long = tmp_path / ("r" * 90)
    long.mkdir()
    done = place.haulout("machine", "start", "web", XDG_RUNTIME_DIR=str(long))
    assert done.code != 0
    assert "too long for sockets" in done.err
    assert "XDG_RUNTIME_DIR" in done.err
    assert list(long.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "code", "text", "says"),
    [
        ("panics", "ac 84c0 7403 ee ebf8", b"Kernel panic - not syncing: no init\r\n\0", "the guest's kernel panicked"),
        ("loops", "ba f90c b0 06 ee", b"", "the guest reboots again and again"),
        ("leaves", "ba 0406 b8 0020 ef", b"", "the guest shut down"),
        ("sits", "", b"", "ssh did not answer within 1 seconds"),
    ],
)
def test_an_image_that_does_not_come_up(place, name, code, text, says):
    boot_sector(place, name, bytes.fromhex(code), text)
    done = place.haulout("machine", "start", name, "--wait", "1" if name == "sits" else "30")
    assert (done.code, says in done.err) == (13, True), done.err
    assert ("console: Kernel panic" in done.err) == (name == "panics")
    assert listed(place)[name]["ended"] == says
    until(lambda: vm(place, name) == supervisor(place, name) == [], 30)
    assert place.haulout("machine", "rm", name, "--data").code == 0


def without_sshd(place, name, work):
    """Publish the tiny image with another initrd behind its own, whose init starts no sshd, and says that it is up."""
    root, raw, inside = work / "root", place.path / f"{name}.raw", ["-i", f"{place.path / name}.raw@@{START}"]
    (root / "etc").mkdir(parents=True)
    kept = [line for line in (ROOT / "images/tiny.inittab").read_text().splitlines() if "sshd" not in line]
    (root / "etc/inittab").write_text("\n".join([*kept, "::once:/bin/echo the guest is up", ""]))
    pack_initrd(root, work / "more")
    run("qemu-img", "convert", "-O", "raw", tiny_image(), raw)
    changed = run("mtype", *inside, "::syslinux.cfg").replace("INITRD initrd", "INITRD initrd,more")
    (work / "syslinux.cfg").write_text(changed)
    run("mcopy", "-o", *inside, work / "more", work / "syslinux.cfg", "::")
    publish(place, name, "256")


@pytest.mark.long
def test_an_image_without_sshd(place, tmp_path):
    without_sshd(place, "silent", tmp_path)
    # A host that is busy gets more time, until the guest was up before it was given up.
    for seconds in (6, 20, 45):
        done = place.haulout("machine", "start", "silent", "--wait", str(seconds))
        reason = f"ssh did not answer within {seconds} seconds"
        assert (done.code, reason in done.err, listed(place)["silent"]["ended"]) == (13, True, reason), done.err
        until(lambda: vm(place, "silent") == supervisor(place, "silent") == [], 30)
        if "the guest is up" in place.haulout("machine", "logs", "silent").out:
            break
    else:
        pytest.fail("the guest did not come up")
    assert place.haulout("machine", "rm", "silent", "--data").code == 0


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_qemu_that_crashes(place, number):
    boot_sector(place, "crashes", b"")
    with begun(place, "start", "crashes") as starting:
        until(lambda: listed(place)["crashes"]["ssh_port"], 60)
        os.kill(vm(place, "crashes")[0], number)
        _, err = starting.communicate(timeout=240)
    reason = f"QEMU was killed by signal {int(number)} ({number.name})"
    assert (starting.returncode, reason in err) == (13, True), err
    found = listed(place)["crashes"]
    assert (found["state"], found["ended"]) == ("stopped", reason)
    assert reason in place.haulout("machine", "list").out
    assert place.haulout("machine", "rm", "crashes", "--data").code == 0


@pytest.mark.long
def test_two_commands_at_once(place):
    with (
        begun(place, "init", "twice", "oci:machines:5.0") as one,
        begun(place, "init", "twice", "oci:machines:5.0") as two,
    ):
        codes = sorted(each.wait(timeout=150) for each in (one, two))
    assert codes == [0, 12]
    assert place.haulout("machine", "rm", "twice", "--data").code == 0
    with begun(place, "start", "web") as one, begun(place, "start", "web") as two:
        errors = [each.communicate(timeout=150)[1] for each in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], errors
    assert len(vm(place, "web")) == len(supervisor(place, "web")) == 1
    with begun(place, "stop", "web") as one, begun(place, "start", "web") as two:
        assert one.wait(timeout=150) == 0
        assert two.wait(timeout=150) in {0, 13}
    start(place)
    assert rootless(place) == [True, False]
    done = place.haulout("machine", "rm", "web")
    assert (done.code, "is running" in done.err) == (12, True)
    with begun(place, "rm", "web") as one, begun(place, "stop", "web", "--wait", "0") as two:
        assert one.wait(timeout=150) in {0, 12}
        assert two.wait(timeout=150) in {0, 4}
    if "web" not in listed(place):
        assert place.haulout("machine", "init", "web", "oci:machines:5.0", *OPTIONS).code == 0


@pytest.mark.long
def test_the_runtime_directory_is_removed_while_it_runs(place):
    start(place)
    ssh(place, f"echo kept >{STORE}/v; sync")
    shutil.rmtree(runtime(place))
    assert listed(place)["web"]["state"] != "stopped"
    until(lambda: listed(place)["web"]["state"] == "running", 60)
    assert rootless(place) == [True, False]
    assert ssh(place, f"cat {STORE}/v") == "kept\n"
    # With its supervisor dead, too, nothing leads to QEMU but the lock it holds.
    shutil.rmtree(runtime(place))
    for pid in supervisor(place, "web"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: listed(place)["web"]["state"] == "unattended")
    stop(place)
    assert listed(place)["web"]["ended"] == "stopped: QEMU was killed"
    start(place)
    assert ssh(place, f"cat {STORE}/v") == "kept\n"


@pytest.mark.long
def test_what_hangs_is_ended(place):
    start(place)
    os.kill(supervisor(place, "web")[0], signal.SIGSTOP)
    stop(place)
    start(place)
    os.kill(vm(place, "web")[0], signal.SIGSTOP)
    stop(place)


@pytest.mark.long
def test_the_host_goes_down(place):
    start(place)
    ssh(place, f"echo kept >{STORE}/v; sync")
    stale = runtime(place).with_name("stale")
    for pid in (supervisor(place, "web")[0], vm(place, "web")[0]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: listed(place)["web"]["state"] == "stopped")
    # Sockets, and what names a port that may be another's by now, are there still: nobody believes them.
    assert (runtime(place) / "control.sock").exists()
    assert listed(place)["web"]["ended"] == "its supervisor was killed, and nobody saw why the machine ended"
    done = place.haulout("machine", "ssh", "web", "--", "true")
    assert (done.code, "does not run" in done.err) == (12, True)
    assert "was not running" in stop(place).out
    shutil.rmtree(runtime(place))
    history = folder(place) / "events.jsonl"
    history.write_text(re.sub(r'"boot": "[^"]+"', '"boot": "the one before"', history.read_text()) + '{"at": "20')
    assert listed(place)["web"]["ended"] == "the host went down while it ran"
    (folder(place) / ".machine.json.0123abcd.new").write_text('{"schema"')
    (folder(place) / "known_hosts.new").write_bytes(bytes(100))
    (folder(place) / "seed/user-data").write_bytes(b"")
    start(place)
    assert ssh(place, f"cat {STORE}/v") == "kept\n"
    assert not stale.exists()


@pytest.mark.long
def test_a_data_disk_without_room(place):
    start(place)
    ssh(
        place,
        f"echo kept >{STORE}/v; sync; dd if=/dev/zero of={STORE}/fill bs=1M 2>/dev/null; sync; df {STORE} | grep -q 100%",
    )
    start_again = place.haulout("machine", "restart", "web")
    assert start_again.code == 0, start_again.err
    assert rootless(place) == [True, False]
    assert ssh(place, f"cat {STORE}/v; rm {STORE}/fill") == "kept\n"


@pytest.mark.long
def test_a_host_without_room_and_a_home_that_is_read_only(place, tmp_path):
    # The machine of the tests before this one may run, under the same name.
    runtime = Path(place.environment["XDG_RUNTIME_DIR"], "b")
    runtime.mkdir(mode=0o700)
    with mounted(tmp_path, "tmpfs", "size=120m") as home:
        there = _with(place, XDG_DATA_HOME=str(home), XDG_RUNTIME_DIR=str(runtime))
        fill = home / "fill"

        def full():
            with suppress(OSError), fill.open("wb") as file:
                while file.write(bytes(1 << 16)):
                    file.flush()

        full()
        done = there.haulout("machine", "init", "web", "oci:machines:5.0", *OPTIONS)
        assert (done.code != 0, "Traceback" in done.err, listed(there)) == (True, False, {}), done.err
        fill.unlink()
        assert there.haulout("machine", "init", "web", "oci:machines:5.0", *OPTIONS).code == 0
        full()
        done = there.haulout("machine", "start", "web")
        assert (done.code, listed(there)["web"]["state"]) == (13, "stopped"), done.err
        assert re.search("no space left|is full", done.err), done.err
        fill.unlink()
        try:
            start(there)
            ssh(there, f"echo kept >{STORE}/v; sync")
            with begun(
                there,
                "ssh",
                "web",
                "--",
                "sh",
                "-c",
                f"dd if=/dev/urandom of={STORE}/big bs=1M count=100; sync; echo done",
            ) as writing:
                until(lambda: "is full" in (listed(there)["web"]["waiting_for"] or ""), 60)
                assert listed(there)["web"]["state"] == "running"
                subprocess.run(["mount", "-o", "remount,size=300m", home], check=True)
                assert writing.communicate(timeout=150)[0] == "done\n"
            until(lambda: listed(there)["web"]["waiting_for"] is None)
            assert ssh(there, f"cat {STORE}/v") == "kept\n"
        finally:
            stop(there, "10")
        subprocess.run(["mount", "-o", "remount,ro", home], check=True)
        for verb in (("start", "web"), ("set", "web", "--cpus", "1"), ("rm", "web"), ("clone", "web", "copy"),
                     ("init", "other", "oci:machines:5.0")):  # fmt: skip
            done = there.haulout("machine", *verb)
            assert (done.code != 0, "read-only" in done.err, "Traceback" in done.err) == (True, True, False), done.err
        assert listed(there)["web"]["state"] == "stopped"
        subprocess.run(["mount", "-o", "remount,rw", home], check=True)
        assert there.haulout("machine", "rm", "web", "--data").code == 0
