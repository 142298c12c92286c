"""What is in a root file system of Debian, as CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    import tarfile

DEP5 = "Format: http"
"""How a machine-readable copyright file begins."""


def describe(tar: tarfile.TarFile, name: str, epoch: int) -> tuple[str, str]:
    """Return the bill of materials, and the list of packages as apt takes it: ``name=version`` lines."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', read(tar, "./usr/lib/os-release"), re.MULTILINE))
    packages = sorted(installed(read(tar, "./var/lib/dpkg/status")), key=lambda each: each["Package"])
    files = {each.name: each for each in tar.getmembers()}
    components = [component(each, licences(tar, files, each["Package"]), release) for each in packages]
    versions = "".join(f"{each['Package']}={each['Version']}\n" for each in packages)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, versions)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": {"type": "operating-system", "bom-ref": "image", "name": name, "version": release["VERSION"]},
        },
        "components": components,
    }
    return json.dumps(document, indent=1) + "\n", versions


def read(tar: tarfile.TarFile, name: str) -> str:
    """Return a file's text."""
    file = tar.extractfile(name)
    assert file is not None, name
    return file.read().decode(errors="replace")


def installed(status: str) -> list[dict[str, str]]:
    """Return the packages that dpkg's status lists as installed."""
    found = [dict(HeaderParser().parsestr(each).items()) for each in status.split("\n\n") if each.strip()]
    return [each for each in found if each.get("Status", "").endswith(" installed")]


def component(package: dict[str, str], licensed: list[str], release: dict[str, str]) -> dict[str, Any]:
    """Describe one package."""
    name, version, architecture = package["Package"], package["Version"], package["Architecture"]
    # "name (version)" where either differs from the package's.
    source, _, other = package.get("Source", name).partition(" ")
    distro = f"{release['ID']}-{release['VERSION_ID']}"
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro={distro}"
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "properties": [
            {"name": "debian:source", "value": source},
            {"name": "debian:source-version", "value": other.strip("()") or version},
        ],
    }
    if licensed:
        described["licenses"] = [{"license": {"name": each}} for each in licensed]
    return described


def licences(tar: tarfile.TarFile, files: dict[str, tarfile.TarInfo], package: str) -> list[str]:
    """Return the names of the licences in a package's copyright file, where that is machine-readable (DEP 5)."""
    member = files.get(f"./usr/share/doc/{package}/copyright")
    file = tar.extractfile(member) if member is not None and member.isfile() else None
    text = file.read().decode(errors="replace") if file is not None else ""
    if DEP5 not in text[:200]:
        return []
    return sorted({each.strip() for each in re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)})
