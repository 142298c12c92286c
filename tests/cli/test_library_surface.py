"""What ``import haulout`` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from tests.support.sandbox import ROOT

import haulout

PUBLIC = [
    "Architecture",
    "ConnectionOptions",
    "DeltaResult",
    "Digest",
    "DiskFormat",
    "DiskInfo",
    "DiskSource",
    "DiskType",
    "HauloutError",
    "NullProgress",
    "Progress",
    "PullResult",
    "PushResult",
    "PushedDisk",
    "Reference",
    "__version__",
    "delta",
    "inspect",
    "inventory",
    "parse_reference",
    "pull",
    "push",
    "resolve",
]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_locked():
    assert haulout.__all__ == PUBLIC
    assert dir(haulout) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(haulout, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = haulout.nonsense


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert haulout.__version__ == project["version"]


@pytest.mark.parametrize(
    "first", ["pass", "import haulout.resolve", "import haulout.transfer", "from haulout.resolve import DiskQuery"]
)
def test_a_package_of_the_same_name_never_hides_a_verb(first):
    out = python(
        f"{first}\nimport haulout\nprint(*(callable(getattr(haulout, v)) for v in ('push','pull','resolve','inspect','delta')))"
    )
    assert out.split() == ["True"] * 5


def test_importing_haulout_loads_nothing_of_weight():
    out = python("import sys, haulout; print(*sys.modules)").split()
    assert not {"click", "rich", "numpy", "urllib3", "zstandard", "haulout.transfer", "haulout.errors"} & set(out)


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (
            ["--version"],
            {"click", "rich", "numpy", "urllib3", "zstandard", "haulout.oci", "json.tool", "importlib.metadata"},
        ),
        (["pull", "--help"], {"rich", "numpy", "urllib3", "zstandard", "haulout.transfer"}),
        (["resolve", "oci:nowhere:1"], {"rich"}),
        (["backport", "status", "--help"], {"rich", "numpy", "urllib3", "tomlkit", "haulout.backports.status"}),
        (["backport", "status", "main", "--lib", "/nowhere"], {"rich", "numpy", "urllib3", "zstandard", "tomlkit"}),
        (
            ["evidence", "verify", "--help"],
            {"rich", "numpy", "urllib3", "cryptography", "cbor2", "haulout.confidential"},
        ),
        (["cw", "build", "--help"], {"rich", "numpy", "urllib3", "cryptography", "haulout.confidential"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_load_only_what_they_need(arguments, absent):
    out = python(
        "import sys, io, contextlib\n"
        "from haulout.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        f"    main({arguments!r})\n"
        "print(*sys.modules)"
    ).split()
    assert not absent & set(out)


def test_a_pull_asks_the_registry_before_it_loads_what_decodes():
    out = python("import sys, haulout.usecases.pull; print(*sys.modules)").split()
    assert "urllib3" in out
    assert not {"numpy", "xxhash", "haulout.frames"} & set(out)


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "haulout", "--version"],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"haulout {haulout.__version__}\n"
