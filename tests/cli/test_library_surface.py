"""What ``import haulout`` offers, and what it costs."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
import typing

import pytest
from tests.support.disks import raw_disk
from tests.support.documents import blocks
from tests.support.sandbox import ROOT

import haulout
from haulout import machines


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


VERBS = [name for name in haulout.__all__ if inspect.isfunction(getattr(haulout, name))]


def test_every_public_name_is_there_and_no_other():
    assert haulout.__all__ == sorted(set(haulout.__all__))
    assert dir(haulout) == haulout.__all__
    for name in haulout.__all__:
        assert getattr(haulout, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(haulout, "nonsense")  # noqa: B009 - mypy knows that it is not there


def test_the_verbs_are_locked():
    """A name that goes away breaks somebody's program: it is deprecated first, for one minor version."""
    assert VERBS == [
        "attach",
        "bound_workload",
        "build_workload",
        "cache_info",
        "cache_prune",
        "copy",
        "delete",
        "delta",
        "detach",
        "discover",
        "export_for_trustee",
        "extract_workload",
        "fetch_attached",
        "find",
        "inspect",
        "inspect_workload",
        "inventory",
        "open_workload",
        "parse_policy",
        "parse_reference",
        "prune",
        "pull",
        "push",
        "read_sync_file",
        "rekey_workload",
        "resolve",
        "sync",
        "tag",
        "tags",
        "update_disk",
        "verify_evidence",
    ]


def classes_of(annotation):
    """Yield every class that an annotation names."""
    if isinstance(annotation, type):
        yield annotation
    for part in typing.get_args(annotation):
        yield from classes_of(part)


@pytest.mark.parametrize("face", [haulout, machines])
def test_every_type_that_a_verb_takes_or_returns_is_public(face):
    named = [getattr(each, name) for each in {haulout, face} for name in each.__all__]
    public = {each for each in named if isinstance(each, type)}
    verbs = [getattr(face, name) for name in face.__all__ if inspect.isfunction(getattr(face, name))]
    pending = [c for verb in verbs for c in (hint for h in hints(verb) for hint in classes_of(h))]
    seen = set()
    while pending:
        each = pending.pop()
        if each in seen or not each.__module__.startswith("haulout"):
            continue
        seen.add(each)
        if dataclasses.is_dataclass(each):
            pending += [c for hint in hints(each) for c in classes_of(hint)]
    missing = sorted(f"{each.__module__}.{each.__name__}" for each in seen - public)
    assert missing == []


def test_a_program_on_machines_is_checked_by_its_types(tmp_path):
    (program,) = [block.text for block in blocks(ROOT / "docs/library.md") if "machine_list" in block.text]
    (tmp_path / "tray.py").write_text(program + "\nmachines.machine_list()[0].sockets[0].path.nonsense\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(tmp_path / "tray.py")],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert '"Path" has no attribute "nonsense"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout, done.stdout + done.stderr


def test_every_error_is_public():
    rooms()
    pending, missing = [haulout.HauloutError], []
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        # The island is a library of its own, haulout.backports; brokers have a face of their own.
        room = ".".join(kind.__module__.split(".")[:2])
        faces = {"haulout.backports": "haulout.backports", "haulout.broker": "haulout.brokers"}
        faces["haulout.guest"] = "haulout.guest"
        public = importlib.import_module(faces.get(room, "haulout"))
        if not kind.__name__.startswith("_") and getattr(public, kind.__name__, None) is not kind:
            missing.append(kind.__name__)
    assert missing == []


def rooms():
    """Import every module, and return them."""
    names = (module.name for module in pkgutil.walk_packages(haulout.__path__, "haulout."))
    return [importlib.import_module(name) for name in names if not name.startswith(("haulout.cli", "haulout.__main__"))]


def hints(thing):
    """Return the annotations of a function or class, with what its module imports for type checkers alone."""
    module = sys.modules[thing.__module__]
    names = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            source = importlib.import_module(node.module or "")
            names |= {alias.asname or alias.name: getattr(source, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name: importlib.import_module(alias.name) for alias in node.names if "." not in alias.name}
    return typing.get_type_hints(thing, localns=names).values()


def test_the_example_of_the_module_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_disk(tmp_path / "disk.raw", data_mib=1, size_mib=4)
    results = doctest.testmod(haulout, verbose=False)
    assert results.attempted >= 4
    assert results.failed == 0


def test_the_documentation_of_the_library_can_be_made(tmp_path):
    """``make docs`` does the same."""
    pytest.importorskip("pdoc", reason="pdoc is not installed")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/build_api.py"), str(tmp_path)],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr, done.stderr
    page = (tmp_path / "haulout.html").read_text()
    for name in haulout.__all__:
        assert f'id="{name}"' in page, name


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert haulout.__version__ == project["version"]


@pytest.mark.parametrize(
    "first", ["pass", "import haulout.resolve", "import haulout.usecases.push", "from haulout.resolve import DiskQuery"]
)
def test_a_package_of_the_same_name_never_hides_a_verb(first):
    out = python(
        f"{first}\nimport haulout\nprint(*(callable(getattr(haulout, v)) for v in ('push','pull','resolve','inspect','delta')))"
    )
    assert out.split() == ["True"] * 5


def test_importing_haulout_loads_nothing_of_weight():
    out = python("import sys, haulout; print(*sys.modules)").split()
    assert not {"click", "rich", "numpy", "urllib3", "zstandard", "haulout.usecases", "haulout.errors"} & set(out)


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (
            ["--version"],
            {"click", "rich", "numpy", "urllib3", "zstandard", "haulout.oci", "json.tool", "importlib.metadata"},
        ),
        (["pull", "--help"], {"rich", "numpy", "urllib3", "zstandard", "haulout.usecases"}),
        (["resolve", "oci:nowhere:1"], {"rich"}),
        (["backport", "status", "--help"], {"rich", "numpy", "urllib3", "tomlkit", "haulout.backports.status"}),
        (["backport", "status", "main", "--lib", "/nowhere"], {"rich", "numpy", "urllib3", "zstandard", "tomlkit"}),
        (
            ["evidence", "verify", "--help"],
            {"rich", "numpy", "urllib3", "cryptography", "cbor2", "haulout.tee", "haulout.workload"},
        ),
        (["cw", "build", "--help"], {"rich", "numpy", "urllib3", "cryptography", "haulout.tee", "haulout.workload"}),
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


def test_a_pull_sends_its_first_request_before_it_loads_what_only_answers_need():
    out = python(
        "import os, socket, sys\n"
        "from haulout.cli.main import main\n"
        "def sent(*_):\n"
        "    print(*sys.modules, flush=True)\n"
        "    os._exit(0)\n"
        "socket.socket.send = socket.socket.sendall = sent\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    main(['pull', f'127.0.0.1:{server.getsockname()[1]}/disk:1', '--plain-http'])"
    ).split()
    assert "haulout.http.transport" in out
    loaded = {
        "haulout.fetch.disk",
        "haulout.fetch.results",
        "haulout.resolve.find",
        "haulout.registry.auth.credentials",
    }
    loaded |= {"haulout.registry.auth.challenge", "haulout.content.layout", "haulout.disk.formats", "haulout.frames"}
    loaded |= {"haulout.oci.manifest", "haulout.registry.uploads", "haulout.registry.referrers"}
    assert not (loaded | {"numpy", "xxhash", "zstandard", "rich", "difflib"}) & set(out)


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "haulout", "--version"],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    assert done.stdout == f"haulout {haulout.__version__}\n"
