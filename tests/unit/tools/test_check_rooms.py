"""The walls between rooms: each kind of breach is found."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.support.sandbox import ROOT
from tools.check_rooms import breaches


@pytest.fixture
def house(tmp_path):
    """A function that writes a small tree of modules and returns its source folder."""

    def build(files):
        for name, text in {"haulout/__init__.py": "", **files}.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "src"

    return build


ROOM = {"haulout/disk/__init__.py": '__all__ = ["inspect"]\n', "haulout/disk/raw.py": ""}


@pytest.mark.parametrize(
    ("module", "text", "wrong"),
    [
        ("haulout/fetch/pull.py", "from haulout.disk.raw import probe", "haulout.disk.raw is a module inside a room"),
        ("haulout/fetch/pull.py", "from haulout.disk import probe", "probe is not in the face of haulout.disk"),
        ("haulout/fetch/pull.py", "from haulout.errors import _hint", "_hint is private"),
        ("haulout/machine/model.py", "from haulout.frames import pack", "not in the face|must not know"),
        ("haulout/machine/start.py", "def f():\n    from haulout.http import Client", "machine must not know http"),
        ("haulout/broker/app.py", "from haulout.machine import Machine", "broker must not know machine"),
        ("haulout/guest/unlock.py", "from haulout.content import Store", "guest knows only"),
        ("haulout/broker/policy.py", "import time", "it decides, and must not import time"),
        ("haulout/tee/snp/rules.py", "from pathlib import Path", "it decides, and must not import pathlib"),
        ("haulout/attic/one.py", "import click.testing", "only cli imports click"),
        ("haulout/attic/one.py", "from urllib3 import PoolManager", "only http imports urllib3"),
        ("haulout/backports/pick.py", "import subprocess", "only local, backports.git imports subprocess"),
        ("haulout/trust/policy.py", "import urllib3.util", "it decides, and must not import urllib3.util"),
        (
            "haulout/usecases/build.py",
            "def build(wanted: Mapping[str, Any]) -> None: ...",
            "wanted of build is not typed",
        ),
    ],
)
def test_a_breach_is_found(house, module, text, wrong):
    errors = {"haulout/errors.py": ""}
    (line,) = breaches(house({**ROOM, **errors, module: text}))
    assert line.startswith(f"src/{module}:")
    assert any(each in line for each in wrong.split("|")), line


def test_what_is_allowed_is_not_a_breach(house):
    source = house(
        {
            **ROOM,
            "haulout/errors.py": "",
            "haulout/disk/convert.py": "from haulout.disk.raw import _probe",
            "haulout/fetch/pull.py": "from haulout.disk import inspect\nfrom haulout.errors import HauloutError\nimport os",
            "haulout/backports/git.py": "import subprocess",
            "haulout/cli/main.py": "import click",
            "haulout/guest/unlock.py": "from haulout.guest.device import ask\nfrom haulout.errors import HauloutError",
        }
    )
    assert breaches(source) == []


def test_the_layers_name_every_room(tmp_path):
    """A new room that is in no layer fails the check of the contracts."""
    source = tmp_path / "src"
    subprocess.run(["cp", "-r", ROOT / "src", source], check=True)
    (source / "haulout/attic").mkdir()
    (source / "haulout/attic/__init__.py").write_text('"""A room nobody planned."""\n')
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()",
         "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=tmp_path, env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "haulout.attic" in done.stdout
