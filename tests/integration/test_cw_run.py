"""``cw run`` up to the point where a machine would start: what it unpacks, and the command lines for hardware."""

from __future__ import annotations

import base64
import json
import shlex

import pytest
from tests.support import workloads
from tests.support.sandbox import sandbox

from haulout.guest import Launch
from haulout.workload import unpacked_disk

GUEST = {"command_line": "quiet", "size": 1, "digests": {}, "packages": {}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with sandbox(folder, registry=False) as found:
        workloads.root_folder(found.path / "tree")
        (found.path / "guest").mkdir()
        (found.path / "guest/guest.json").write_text(json.dumps(GUEST))
        done = found.haulout(
            *["cw", "build", "tree", "oci:i:1", "--passphrase-out", "key", "--workload-id", "web", "--memory", "256"]
        )
        assert done.code == 0, done.err
        yield found


def run(place, text, code=0):
    done = place.haulout(*shlex.split(text))
    assert done.code == code, done.out + done.err
    return done


def test_an_image_is_unpacked_with_a_launch_document(place):
    run(place, "cw run oci:i:1 --guest guest --unpack u --broker-url https://127.0.0.1:8443 --print-arguments qemu-snp")
    folder = place.path / "u"
    assert sorted(one.name for one in folder.iterdir()) == [
        "disk.img",
        "haulout-binding.json",
        "krun-sev.json",
        "launch.img",
    ]
    unpacked = unpacked_disk(folder)
    launch = Launch.parse((folder / "launch.img").read_bytes())
    # On hardware, the network is not QEMU's own: the URL stays as it is.
    assert (launch.binding, launch.broker_url) == (unpacked.binding, "https://127.0.0.1:8443")
    assert launch.resource_path == "default/key/web"


@pytest.mark.parametrize(("hardware", "value"), [("qemu-snp", "host_data"), ("qemu-tdx", "mrconfigid")])
def test_command_lines_carry_the_binding(place, hardware, value):
    done = run(
        place,
        f"cw run oci:i:1 --guest guest --unpack v --broker-url https://b.example -p 8080:80 --append 'a b' "
        f"--print-arguments {hardware} --json",
    )
    argv = done.json["arguments"]
    expected = base64.b64encode(getattr(unpacked_disk(place.path / "v").binding, value)).decode()
    assert any(expected in word for word in argv)
    assert argv[argv.index("-append") + 1] == "quiet a b"
    # The guest is unpacked into memory, whatever the image says.
    assert argv[argv.index("-m") + 1] == "512M"
    shown = run(place, f"cw run v --guest guest --broker-url https://b.example --print-arguments {hardware}")
    assert expected in shown.out


def test_crun_runs_the_image_itself(place):
    done = run(place, "cw run oci:i:1 --guest guest --print-arguments krun")
    assert shlex.split(done.out)[-2:] == ["krun.variant=sev", "oci:i:1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("oci:i:1 --guest guest", "the image names no key broker"),
        ("oci:i:1 --guest nothing --broker-url https://b.example", "nothing/guest.json"),
        ("tree --guest guest --broker-url https://b.example", "krun-sev.json"),
        ("oci:i:1 --guest guest --broker-url https://b.example --print-arguments qemu-tdx", "--unpack DIR"),
        ("oci:i:1 --guest guest --broker-url https://a@b.example", "holds credentials"),
        ("oci:i:1 --guest guest -p 80", "is not HOST:GUEST"),
        ("oci:i:1 --guest guest -p 80:0", "is not HOST:GUEST"),
        ("oci:i:1 --guest guest -p 80:99999", "is not HOST:GUEST"),
        ("tree --guest guest --print-arguments krun", "crun runs an image, not a folder"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_starts(place, arguments, said):
    done = place.haulout("cw", "run", *shlex.split(arguments))
    assert done.code in {2, 4}, done.err
    assert said in done.err.replace("\n", " "), done.err
    assert "Traceback" not in done.err


def test_an_image_of_another_tool_has_no_binding(place):
    folder = place.path / "v"
    if not folder.exists():
        run(place, "cw run oci:i:1 --guest guest --unpack v --broker-url https://b.example --print-arguments qemu-snp")
    (folder / "haulout-binding.json").rename(folder / "kept")
    try:
        done = place.haulout(*shlex.split("cw run v --guest guest --broker-url https://b.example"))
        assert done.code == 4
        assert "haulout-binding.json" in done.err
    finally:
        (folder / "kept").rename(folder / "haulout-binding.json")
