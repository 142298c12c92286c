"""The machine image (images/machine.py), for real: every client, as user and as root, and data that stays. ``make test-machines``."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from demo.box import NAME, write_box
from tests.support.clients import docker_cli
from tests.support.machines import short_folder
from tests.support.sandbox import sandbox
from tests.support.servers import free_port, needs

IMAGE = os.environ.get("HAULOUT_TEST_MACHINE_IMAGE", "")
REBUILT = os.environ.get("HAULOUT_TEST_MACHINE_REBUILT", "")
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path(IMAGE).is_file(), reason="takes minutes: make test-machines"),
]
MACHINES = ("east", "west")
ROOTLESS = {"podman": True, "podman-root": False}
START_SECONDS = 900
SECTOR = 512


class Place:
    """Commands in a sandbox, with the registry's name in place of the example's."""

    def __init__(self, place, runtime):
        self.path, self.environment, self.host, self.runtime = place.path, place.environment, place.host, runtime

    def run(self, command, seconds=START_SECONDS):
        argv = ["bash", "-c", command.replace("registry.example.com", self.host)]
        done = subprocess.run(
            argv, cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def each(self, command, machines=MACHINES):
        """For all machines at once."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda name: self.run(command.replace("NAME", name)), machines))

    def url(self, machine, socket):
        return f"unix://{self.runtime}/haulout/{machine}/{socket}.sock"


def podman(place, machine, socket):
    """Debian's client, which also loads the image and leaves a container that is to run unless it is stopped."""
    begin = f"podman --remote --url {place.url(machine, socket)}"
    info = place.run(f"{begin} info --format '{{{{.Host.Security.Rootless}}}} {{{{.Store.GraphDriverName}}}}'")
    assert info == f"{str(ROOTLESS[socket]).lower()} overlay"
    place.run(f"{begin} load -q -i box.tar")
    for name in ("stays", "stopped"):
        write = f"echo {machine} {socket} >>/v/f; exec sleep 100000"
        options = f"--name {name} --restart unless-stopped --network none -v {name}:/v"
        place.run(f"{begin} run -d {options} {NAME} sh -c {shlex.quote(write)}")
    place.run(f"{begin} stop --time 1 stopped")


def docker(place, machine, socket):
    """docker's own client."""
    begin = f"{docker_cli()} --host {place.url(machine, socket)}"
    assert place.run(f"{begin} run --rm --network none {NAME} echo by docker") == "by docker"
    assert place.run(f"{begin} info --format {{{{.OSType}}}}") == "linux"


def libraries(place, machine, socket):
    """podman's and docker's for Python."""
    import docker as docker_library
    import podman as podman_library

    url = place.url(machine, socket)
    with podman_library.PodmanClient(base_url=url.replace("unix:", "http+unix:"), timeout=300) as client:
        assert client.info()["host"]["security"]["rootless"] is ROOTLESS[socket]
        assert "stays" in {each.name for each in client.containers.list()}
    client = docker_library.DockerClient(base_url=url, timeout=300)
    try:
        assert client.ping()
        said = client.containers.run(NAME, ["echo", "by python"], remove=True, network_mode="none")
        assert said == b"by python\n"
    finally:
        client.close()


def running(place, machine, socket):
    begin = f"podman --remote --url {place.url(machine, socket)}"
    return place.run(f"{begin} ps --format '{{{{.Names}}}}'").split()


def both(do):
    """For each socket of each machine, all at the same time."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: do(*pair), [(machine, socket) for machine in MACHINES for socket in ROOTLESS]))


@needs("podman", "docker-registry", "qemu-system-x86_64", "busybox")
def test_containers_and_volumes_of_both_users_survive_what_happens_to_machines(tmp_path):
    with short_folder() as runtime, sandbox(tmp_path) as box:
        box.environment.update(XDG_RUNTIME_DIR=str(runtime), XDG_DATA_HOME=str(tmp_path / "data"))
        place = Place(box, runtime)
        docker_cli()
        write_box(place.path / "box.tar")
        bill = Path(IMAGE).resolve().with_suffix(".cdx.json")
        place.run("haulout login registry.example.com -u builder --password-stdin <token")
        place.run(f"haulout push registry.example.com/machines:5.0 {Path(IMAGE).resolve()} --arch x86_64 --type qemu")
        place.run(f"haulout attach registry.example.com/machines:5.0 {bill} --type application/vnd.cyclonedx+json")
        make = "haulout machine init NAME registry.example.com/machines:5.0 --cpus 1 --memory 1024"
        start = f"haulout machine start NAME --no-connect --wait {START_SECONDS - 20}"
        try:
            place.each(f"{make} --disk 4")
            place.each(start)
            for clients in (podman, docker, libraries):
                both(lambda machine, socket, client=clients: client(place, machine, socket))
            assert place.each("haulout machine ssh NAME -- systemctl --failed --no-legend") == ["", ""]

            def comes_back(machine, socket, lines=2):
                deadline = time.monotonic() + START_SECONDS
                while "stays" not in (names := running(place, machine, socket)) and time.monotonic() < deadline:
                    time.sleep(5)
                assert names == ["stays"], "what was stopped by hand stays down"
                begin = f"podman --remote --url {place.url(machine, socket)}"
                for volume, written in (("stays", lines), ("stopped", 1)):
                    read = place.run(f"{begin} run --rm --network none -v {volume}:/v {NAME} cat /v/f")
                    assert read.splitlines() == [f"{machine} {socket}"] * written

            # One machine is shut down, the other's power goes away.
            place.run("haulout machine stop east && haulout machine stop west --wait 0")
            place.each(start)
            both(comes_back)
            place.each("haulout machine stop NAME && haulout machine rm NAME")
            place.each(make)
            place.each(start)
            both(lambda machine, socket: comes_back(machine, socket, lines=3))
            place.each("haulout machine stop NAME")
            place.each("haulout machine export NAME registry.example.com/backup:NAME")
            place.each("haulout machine rm NAME --data")
            place.each("haulout machine import registry.example.com/backup:NAME")
            place.each(start)
            both(lambda machine, socket: comes_back(machine, socket, lines=4))
        finally:
            for name in MACHINES:
                box.haulout("machine", "stop", name, "--wait", "0")
                box.haulout("machine", "rm", name, "--data")


USER_DATA = """#cloud-config
ssh_authorized_keys: [KEY]
runcmd: [[touch, /var/told]]
"""


@needs("qemu-system-x86_64", "ssh-keygen", "ssh")
def test_it_boots_as_kubevirt_boots_it_by_bios_and_cloud_init_on_a_larger_disk(tmp_path):
    disk, key, port = tmp_path / "disk.qcow2", tmp_path / "key", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "user-data").write_text(USER_DATA.replace("KEY", key.with_suffix(".pub").read_text().strip()))
    (seed / "meta-data").write_text("instance-id: one\nlocal-hostname: harbour\n")
    base = ["-b", str(Path(IMAGE).resolve()), "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, disk, "20G"], check=True)
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-m", "1024"]
    argv += ["-nodefaults", "-display", "none", "-serial", f"file:{tmp_path}/console"]
    argv += ["-drive", f"if=virtio,format=qcow2,file={disk}"]
    argv += ["-drive", f"if=virtio,format=raw,readonly=on,file.driver=vvfat,file.label=CIDATA,file.dir={seed}"]
    argv += ["-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=n"]
    argv += ["-device", "virtio-serial", "-chardev", f"socket,id=agent,path={tmp_path}/agent,server=on,wait=off"]
    argv += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    ssh = ["ssh", "-i", key, "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    ssh += ["-o", "ConnectTimeout=20", "-o", "BatchMode=yes", "core@127.0.0.1"]
    wait = "cloud-init status --wait >/dev/null; ls /var/told; hostname; df --output=size -BG / | tail -n 1; "
    wait += "systemctl is-active qemu-guest-agent"
    with subprocess.Popen(argv) as machine:
        try:
            deadline = time.monotonic() + START_SECONDS
            while (done := subprocess.run([*ssh, wait], capture_output=True, text=True, check=False)).returncode == 255:
                assert machine.poll() is None
                assert time.monotonic() < deadline, done.stderr
                time.sleep(3)
        finally:
            machine.kill()
    told, name, size, agent = done.stdout.split()
    assert (told, name, agent) == ("/var/told", "harbour", "active")
    assert int(size.rstrip("G")) >= 18


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root file system of the image; debugfs reads it without mounting."""
    if shutil.which("debugfs") is None:
        pytest.skip("not installed: debugfs")
    raw = tmp_path_factory.mktemp("image") / "machine.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", IMAGE, raw], check=True)
    table = json.loads(subprocess.run(["sfdisk", "--json", raw], capture_output=True, check=True).stdout)
    offset = next(each["start"] for each in table["partitiontable"]["partitions"] if each["name"] == "root") * SECTOR

    def ask(command):
        done = subprocess.run(
            ["debugfs", "-R", command, f"{raw}?offset={offset}"], capture_output=True, text=True, check=True
        )
        return done.stdout

    return ask


def test_nothing_that_a_machine_makes_for_itself_is_in_the_image(root):
    assert re.search(r"Size: 0$", root("stat /etc/machine-id"), re.MULTILINE)
    assert "sshd_config" in root("ls /etc/ssh")
    assert "ssh_host" not in root("ls /etc/ssh")
    assert "random-seed" not in root("ls /var/lib/systemd")
    assert "dpkg.log" not in root("ls /var/log")
    assert ".deb" not in root("ls /var/cache/apt/archives")


def test_the_bill_of_materials_is_valid_and_names_every_package(root):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = Path(IMAGE).with_suffix(".cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    paragraphs = root("cat /var/lib/dpkg/status").split("\n\n")
    installed = {
        each.splitlines()[0].removeprefix("Package: ") for each in paragraphs if "install ok installed" in each
    }
    described = json.loads(text)["components"]
    assert {each["name"] for each in described} == installed
    assert {"podman", "qemu-guest-agent", "chrony"} <= installed
    assert all(each["purl"].startswith("pkg:deb/debian/") for each in described)
    assert sum("licenses" in each for each in described) > len(described) / 2


def test_two_builds_give_the_same_bytes():
    if not Path(REBUILT).is_file():
        pytest.skip("the image was not built twice: make test-machines TWICE=1")
    for suffix in (".qcow2", ".cdx.json", ".packages"):
        built, again = (Path(each).with_suffix(suffix) for each in (IMAGE, REBUILT))
        assert subprocess.run(["cmp", built, again], check=False).returncode == 0, suffix
