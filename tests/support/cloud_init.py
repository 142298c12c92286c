"""cloud-init, of this machine's own Debian, run here without installing it: a host has no use for its services."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.peers import CACHE, DOWNLOAD_SECONDS, SECONDS

PACKAGES = (
    *("cloud-init", "python3-configobj", "python3-six", "python3-jsonpatch", "python3-json-pointer"),
    *("python3-jsonschema", "python3-attr", "python3-pyrsistent", "python3-jinja2", "python3-markupsafe"),
    *(
        "python3-requests",
        "python3-urllib3",
        "python3-idna",
        "python3-certifi",
        "python3-chardet",
        "python3-charset-normalizer",
    ),
    *("python3-oauthlib", "python3-yaml", "python3-netifaces", "python3-serial"),
)
_PROGRAM = """
import json, sys
from pathlib import Path
from cloudinit import helpers, user_data
from cloudinit.config.schema import get_schema, validate_cloudconfig_schema
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
folder = Path(sys.argv[1])
paths = helpers.Paths({"cloud_dir": str(folder), "run_dir": str(folder)})
handler = CloudConfigPartHandler(paths)
handler.handle_part(None, "__begin__", None, None, None, None)
kinds = []
for part in user_data.UserDataProcessor(paths).process((folder / "user-data").read_bytes()).walk():
    if part.is_multipart():
        continue
    kinds.append(part.get_content_type())
    if kinds[-1] == "text/cloud-config":
        payload = part.get_payload(decode=True)
        handler.handle_part(None, kinds[-1], part.get_filename() or "part", payload.decode(), None, dict(part))
config = handler.cloud_buf
validate_cloudconfig_schema(dict(config), get_schema(), strict=True)
print(json.dumps({"kinds": kinds, "config": config}))
"""


@cache
def _root() -> Path:
    root = CACHE / "cloud-init"
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            done = subprocess.run(
                ["apt-get", "-q", "download", *PACKAGES],
                cwd=scratch, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False,
            )  # fmt: skip
            if done.returncode:
                pytest.skip(f"cloud-init cannot be had here: {done.stderr.strip()[-200:]}")
            made = Path(scratch) / "root"
            for package in sorted(Path(scratch).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", package, made], check=True, timeout=SECONDS)
            shutil.rmtree(made / "usr/share", ignore_errors=True)
            made.rename(root)
    return root


def understood(folder: Path) -> dict[str, Any]:
    """What cloud-init makes of ``user-data`` in a folder: the kinds of its parts, and the merged configuration."""
    if not shutil.which("apt-get"):
        pytest.skip("not a Debian machine")
    modules = _root() / "usr/lib/python3/dist-packages"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, folder], env={"PYTHONPATH": str(modules)},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
