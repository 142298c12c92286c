"""What the machine image does with an Ignition configuration like podman machine's."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.sandbox import ROOT

PROGRAM = ROOT / "images/root/usr/lib/haulout/ignition"
CONFIG = {
    "ignition": {"version": "3.2.0"},
    "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["ssh-ed25519 AAAA"], "uid": 1000}]},
    "storage": {
        "directories": [{"path": "/home/core/.config/systemd", "mode": 448}],
        "files": [
            {"path": "/etc/a b", "mode": 384, "contents": {"source": "data:,one%20line%0A"}},
            {"path": "/etc/appended", "append": [{"source": "data:;base64,dHdv"}, {"source": "data:,%21"}]},
            {"path": "/etc/elsewhere", "contents": {"source": "https://example.com/file"}},
        ],
        "links": [{"path": "/etc/systemd/user/sockets.target.wants/podman.socket", "target": "/usr/lib/podman.socket"}],
    },
    "systemd": {
        "units": [
            {"name": "ready.service", "enabled": True, "contents": "[Service]\nExecStart=/bin/true\n"},
            {"name": "docker.socket", "mask": True},
            {"name": "ssh.service", "dropins": [{"name": "10.conf", "contents": "[Unit]\n"}]},
        ]
    },
}


def test_files_links_and_units_are_made_as_podman_machine_asks(tmp_path):
    config, root = tmp_path / "config.ign", tmp_path / "root"
    config.write_text(json.dumps(CONFIG))
    argv = [sys.executable, str(PROGRAM), str(config), str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (root / "etc/appended").read_text() == "two!"
    assert done.stdout == "ready.service\n"
    assert "https://example.com/file" in done.stderr
    assert (root / "etc/a b").read_text() == "one line\n"
    assert (root / "etc/a b").stat().st_mode & 0o777 == 0o600
    assert (root / "home/core/.config/systemd").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/systemd/user/sockets.target.wants/podman.socket").readlink().name == "podman.socket"
    assert (root / "etc/systemd/system/docker.socket").readlink().as_posix() == "/dev/null"
    assert (root / "etc/systemd/system/ssh.service.d/10.conf").read_text() == "[Unit]\n"
    assert "ExecStart" in (root / "etc/systemd/system/ready.service").read_text()


def test_an_empty_configuration_asks_for_nothing(tmp_path):
    (tmp_path / "config.ign").write_text('{"ignition": {"version": "3.2.0"}}')
    argv = [sys.executable, str(PROGRAM), str(tmp_path / "config.ign"), str(tmp_path / "root")]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "\n"
