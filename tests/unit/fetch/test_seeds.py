"""Notes of earlier pulls, where this process cannot even spell their names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from tests.support.disks import raw_disk

from haulout.fetch.seeds import SeedNotes
from haulout.usecases.push import push


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """Make a locale whose file names are Latin-1; return its environment."""
    folder = tmp_path_factory.mktemp("locale")
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("the sources of locales are not installed")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


def test_a_seed_whose_name_the_locale_cannot_spell_is_passed_over_and_kept(tmp_path, latin, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reference = f"oci:{tmp_path}/layout:1"
    push(reference, raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=8))

    def pulled(name, **locale):
        argv = [sys.executable, "-m", "haulout", "pull", reference, "-o", name, "--json"]
        return subprocess.run(argv, cwd=tmp_path, env=os.environ | locale, capture_output=True, check=False)

    assert pulled("disk\u20131.raw", LC_ALL="C.UTF-8").returncode == 0
    done = pulled("other.raw", **latin)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "other.raw").read_bytes() == (tmp_path / "d.raw").read_bytes()
    # The next pull in a locale that can spell it finds it.
    assert {path.name for path, _ in SeedNotes().recall("")} == {"disk\u20131.raw", "other.raw"}
