"""Updates of machines: kept where the new system has all that there was, undone where it has not; and the way back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from images import tiny
from tests.integration.test_machine import examples
from tests.support.machines import ask, listed, machines
from tests.support.servers import free_port, needs

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]
thorough = pytest.mark.skipif(not os.environ.get("HAULOUT_TEST_UPDATES"), reason="make test-updates runs it: minutes")
STORE = ".local/share/containers"
BOOT = "cat /proc/sys/kernel/random/boot_id"


def at(place, word):
    return word.replace("registry.example.com", place.host) if place.host else word


def ok(place, *words, code=0):
    done = place.haulout("machine", *(at(place, word) for word in words))
    assert done.code == code, f"{words}: exit code {done.code}: {done.out}{done.err}"
    return done


def folder(place, name="web"):
    return Path(place.environment["XDG_DATA_HOME"]) / "haulout/machines" / name


def journal(place, name="web"):
    return json.loads((folder(place, name) / "update.json").read_text())


def publish(place, variant, reference="oci:machines:5.0"):
    """Publish a variant of the image."""
    image = tiny.variant(tiny.cached(Path(tiny.HERE.parent / ".cache")), variant, place.path / f"{variant}.qcow2")
    pushed = place.haulout("push", at(place, reference), str(image), "--arch", "x86_64", "--type", "qemu")
    assert pushed.code == 0, pushed.err


def running(place, socket="podman", name="web"):
    return sorted(each["Id"] for each in json.loads(ask(place, socket, "/v4.0.0/libpod/containers/json", name)))


def run_container(place, name, user="core"):
    store = STORE if user == "core" else "/var/lib/containers"
    ok(place, "ssh", "web", "--user", user, "--", "sh", "-c", f"{BOOT} >{store}/fake/{name} && sync")


@contextmanager
def web(tmp_path, *options, reference="oci:machines:5.0", registry=False):
    """Yield a place with a machine that runs: two containers, a file, and an update that is published by the test."""
    with machines(tmp_path, registry=registry) as place:
        if registry:
            pushed = place.shell("haulout login registry.example.com -u builder --password-stdin <token >/dev/null; "
                                 f"haulout copy oci:machines:5.0 {reference}")  # fmt: skip
            assert pushed.code == 0, pushed.err
        ok(place, "init", "web", reference, "--cpus", "1", "--memory", "256", "--disk", "1", *options)
        ok(place, "start", "web", "--no-connect")
        assert running(place) == running(place, "podman-root") == []
        run_container(place, "db")
        run_container(place, "proxy", "root")
        ok(place, "ssh", "web", "--", "sh", "-c", f"echo kept >{STORE}/file && sync")
        yield place


def variant(place):
    return ok(place, "ssh", "web", "--", "cat", "/run/variant", f"{STORE}/file").out.split()


@pytest.mark.long
@needs("docker-registry")
def test_an_update_is_kept_and_taken_back_with_and_without_its_data(tmp_path):
    """By the examples that the help of the two verbs shows."""
    check, update, other = (words.split()[2:] for words in examples("update"))
    back, back_with_data = (words.split()[2:] for words in examples("rollback"))
    with web(tmp_path, reference="registry.example.com/machines:5.0", registry=True) as place:
        assert ok(place, *check, "--json").json["status"] == "current"
        publish(place, "second", "registry.example.com/machines:5.0")
        publish(place, "loses", other[-1])
        assert ok(place, *check, "--json").json["status"] == "available"
        planned = ok(place, *update, "--dry-run", "--json").json
        assert (planned["status"], sorted(planned["stops"])) == ("planned", ["db", "proxy"])
        done = ok(place, *update, "--json").json
        assert done["status"] == "updated"
        assert 0 < done["fetched"] == planned["fetched"] < 1 << 20
        assert done["downtime"] > 0
        assert variant(place) == ["second", "kept"]
        assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        ok(place, "ssh", "web", "--", "sh", "-c", f"echo since >{STORE}/file && sync")
        undone = ok(place, *other, "--json", code=1).json
        assert (undone["status"], undone["image"]) == ("undone", done["image"])
        assert undone["reason"] == "containers that ran before do not run: db, proxy"
        assert variant(place) == ["second", "since"]
        assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        assert "was undone on this machine before" in ok(place, *other, code=12).err
        assert listed(place)["web"]["update"]["step"] == "undone"
        assert ok(place, *back, "--json").json["status"] == "rolled-back"
        assert variant(place) == ["plain", "since"]
        assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        assert "no system to go back to" in ok(place, *back_with_data, code=12).err
        ok(place, "stop", "web")
        assert len(list(folder(place).glob("data-*"))) == 1, "the next start writes it into data.raw"


@thorough
def test_the_data_goes_back_and_the_image_that_was_left_is_not_tried_again(tmp_path):
    with web(tmp_path) as place:
        publish(place, "migrates")
        ok(place, "update", "web")
        ok(place, "ssh", "web", "--", "sh", "-c", f"echo lost >{STORE}/file && sync")
        assert "changed podman's data from podman 4.3 to podman 5.4" in ok(place, "rollback", "web", code=12).err
        ok(place, "rollback", "web", "--data")
        assert variant(place) == ["plain", "kept"]
        assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        assert "was undone on this machine before: rolled back" in ok(place, "update", "web", code=12).err
        ok(place, "update", "web", "--force")
        ok(place, "stop", "web")
        ok(place, "rollback", "web", "--data")
        ok(place, "start", "web", "--no-connect")
        assert variant(place) == ["plain", "kept"]


@thorough
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("panic", "kernel panicked"),
        ("hang", "ssh did not answer within 25 seconds"),
        ("nosocket", "socket podman does not answer"),
        ("loses", "containers that ran before do not run: db, proxy"),
        ("full", "containers that ran before do not run: "),
    ],
)
def test_a_system_that_lacks_something_is_undone(name, says, tmp_path):
    with web(tmp_path) as place:
        if name == "hang":
            file = folder(place) / "machine.json"
            file.write_text(file.read_text().replace('"health_seconds": 300', '"health_seconds": 25'))
            ok(place, "restart", "web")
            run_container(place, "db")
            run_container(place, "proxy", "root")
        publish(place, name)
        done = ok(place, "update", "web", "--json", code=1).json
        assert done["status"] == "undone"
        assert says in done["reason"]
        assert variant(place) == ["plain", "kept"]
        assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        assert says in ok(place, "update", "web", code=12).err
        assert listed(place)["web"]["update"]["step"] == "undone"
        assert not list(folder(place).glob("data-*"))


@thorough
def test_a_system_that_does_not_boot_any_more_is_not_gone_back_to(tmp_path):
    with web(tmp_path) as place:
        publish(place, "second")
        ok(place, "update", "web")
        file = folder(place) / "machine.json"
        file.write_text(file.read_text().replace('"health_seconds": 300', '"health_seconds": 25'))
        before = next(each for each in (folder(place) / "slots").glob("*.qcow2") if each.stem not in file.read_text())
        kept = before.read_bytes()
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 0 0 4M", before], check=True)
        ok(place, "restart", "web")
        run_container(place, "db")
        run_container(place, "proxy", "root")
        ok(place, "ssh", "web", "--", "sh", "-c", f"echo since >{STORE}/file && sync")
        for words in (["rollback", "web"], ["rollback", "web", "--data"]):
            undone = ok(place, *words, "--json", code=1 if words[-1] == "web" else 12)
            if words[-1] == "web":
                assert (undone.json["status"], undone.json["downtime"]) == ("undone", None)
                assert undone.json["reason"] == "ssh did not answer within 25 seconds"
            assert variant(place) == ["second", "since"]
            assert (running(place), running(place, "podman-root")) == (["db"], ["proxy"])
        assert listed(place)["web"]["update"]["kind"] == "rollback"
        assert not list(folder(place).glob("data-*"))
        before.write_bytes(kept)
        file.write_text(file.read_text().replace('"health_seconds": 25', '"health_seconds": 300'))
        ok(place, "stop", "web")
        assert ok(place, "rollback", "web", "--json").json["status"] == "rolled-back"
        ok(place, "start", "web", "--no-connect")
        assert variant(place) == ["plain", "since"]


@thorough
def test_a_rehearsal_refuses_before_anything_is_stopped_and_idleness_is_waited_for(tmp_path):
    with web(tmp_path, "-p", f"{(port := free_port())}:22") as place:
        boot = ok(place, "ssh", "web", "--", "cat", "/proc/sys/kernel/random/boot_id").out
        publish(place, "nosocket")
        undone = ok(place, "update", "web", "--rehearse", "--json", code=1).json
        assert undone["reason"] == "rehearsal: it has no podman, podman-root"
        assert ok(place, "ssh", "web", "--", "cat", "/proc/sys/kernel/random/boot_id").out == boot
        assert set(listed(place)) == {"web"}
        publish(place, "second")
        with (
            subprocess.Popen(
                ["haulout", "machine", "update", "web", "--rehearse", "--when-idle"], cwd=place.path,
                env=place.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            ) as update,
            socket.socket(socket.AF_UNIX) as client,
        ):  # fmt: skip
            client.connect(f"{place.environment['XDG_RUNTIME_DIR']}/haulout/web/podman.sock")
            assert update.stderr is not None
            said = ""
            while "waiting until nobody uses it" not in said:
                said = update.stderr.readline()
                assert said, "it did not wait"
            assert "1 client is connected" in said
            client.close()
            update.stderr.read()
        assert update.returncode == 0
        assert variant(place) == ["second", "kept"]
        assert port


@thorough
def test_a_machine_that_does_not_run_is_updated_and_does_not_run_afterwards(tmp_path):
    with web(tmp_path) as place:
        ok(place, "stop", "web")
        publish(place, "panic")
        ok(place, "update", "web", "--stage")
        # As a command leaves it that is killed; then the machine starts, as by itself.
        file = folder(place) / "update.json"
        file.write_text(file.read_text().replace('"step": "staged"', '"step": "due"'))
        ok(place, "start", "web", "--no-connect")
        assert variant(place) == ["plain", "kept"]
        assert (journal(place)["step"], listed(place)["web"]["state"]) == ("undone", "running")
        ok(place, "stop", "web")
        undone = ok(place, "update", "web", "--force", "--json", code=1).json
        # On a busy host, it reboots between two looks at its console.
        assert undone["reason"] in {"the guest's kernel panicked", "the guest reboots again and again"}
        assert listed(place)["web"]["state"] == "stopped"
        publish(place, "second")
        done = ok(place, "update", "web", "--json").json
        assert (done["status"], done["downtime"]) == ("updated", None)
        assert listed(place)["web"]["state"] == "stopped"
        exported = ok(place, "export", "web", "oci:backup:1", "--json").json
        assert exported["data_content"] > 0
        assert sorted(path.name for path in folder(place).glob("data*")) == ["data.raw"]
        ok(place, "clone", "web", "copy")
        ok(place, "start", "copy", "--no-connect")
        copied = ok(place, "ssh", "copy", "--", "cat", "/run/variant", f"{STORE}/file").out.split()
        assert copied == ["second", "kept"]
