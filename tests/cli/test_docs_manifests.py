"""The manifests that documents show: YAML that names only what is there, and tags that Ironic's rules choose rightly from."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.support.disks import raw_disk
from tests.support.documents import blocks
from tests.support.sandbox import ROOT
from tests.support.servers import needs

import haulout

PAGE = ROOT / "docs/quickstart/kubevirt.md"
OBJECTS = [
    document for block in blocks(PAGE) if block.language == "yaml" for document in yaml.safe_load_all(block.text)
]
MACHINES = [found for found in OBJECTS if found["kind"] == "VirtualMachine"]
VERSIONS = {"VirtualMachine": "kubevirt.io/v1", "Secret": "v1", "ConfigMap": "v1"}
PRIORITY = {
    "local": {"qcow2": 1, "qemu": 2, "raw": 3, "applehv": 4},
    "http": {"raw": 1, "applehv": 2, "qcow2": 3, "qemu": 4},
}
SAME = {"x86_64": ("x86_64", "amd64"), "aarch64": ("aarch64", "arm64")}


def named(kind):
    return {found["metadata"]["name"] for found in OBJECTS if found["kind"] == kind}


def test_each_object_has_what_kubernetes_demands():
    assert len(MACHINES) == 2
    for found in OBJECTS:
        assert found["apiVersion"] == VERSIONS[found["kind"]]
        assert found["metadata"]["name"]


@pytest.mark.parametrize("machine", MACHINES, ids=["containerDisk", "dataVolume"])
def test_a_machine_names_only_what_is_there(machine):
    assert machine["spec"]["runStrategy"] in {"Always", "Manual", "Halted", "RerunOnFailure", "Once"}
    spec = machine["spec"]["template"]["spec"]
    assert spec["architecture"] in {"amd64", "arm64"}
    devices = spec["domain"]["devices"]
    assert [disk["name"] for disk in devices["disks"]] == [volume["name"] for volume in spec["volumes"]]
    interfaces = [interface["name"] for interface in devices.get("interfaces", [])]
    assert interfaces == [network["name"] for network in spec.get("networks", [])]
    templates = {found["metadata"]["name"]: found["spec"] for found in machine["spec"].get("dataVolumeTemplates", [])}
    for volume in spec["volumes"]:
        assert len({"containerDisk", "dataVolume"} & set(volume)) == 1
        if "containerDisk" in volume:
            assert volume["containerDisk"]["imagePullSecret"] in named("Secret")
        else:
            source = templates[volume["dataVolume"]["name"]]["source"]["registry"]
            assert source["url"].startswith("docker://")
            assert source["secretRef"] in named("Secret")
            assert source["certConfigMap"] in named("ConfigMap")


def test_secrets_have_the_members_that_their_readers_want():
    pull, imported = (found for found in OBJECTS if found["kind"] == "Secret")
    assert json.loads(pull["stringData"][".dockerconfigjson"])["auths"]
    assert set(imported["stringData"]) == {"accessKeyId", "secretKey"}


def ironic(index, architecture, source):
    """What Ironic chooses (ironic/common/image_service.py, OciImageService.identify_specific_image, of 2026-08)."""
    order = PRIORITY[source]
    for entry in sorted(
        index["manifests"], key=lambda entry: order.get(entry.get("annotations", {}).get("disktype"), 100)
    ):
        stated = entry.get("platform", {}).get("architecture")
        if stated and stated not in SAME[architecture]:
            continue
        if entry.get("annotations", {}).get("disktype") in order:
            return entry
    return None


@needs("qemu-img")
def test_ironic_chooses_the_disk_that_the_page_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    disk = raw_disk(tmp_path / "d.raw", data_mib=1, size_mib=4)
    reference = f"oci:{tmp_path}/layout:5.0"
    for architecture in SAME:
        haulout.push(reference, disk, architecture=architecture, also=["qemu", "hyperv"])
    (tag,) = [
        entry
        for entry in json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
        if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == "5.0"
    ]
    blobs = tmp_path / "layout/blobs/sha256"
    index = json.loads((blobs / tag["digest"].removeprefix("sha256:")).read_text())
    for architecture in SAME:
        for source, disk_type in (("local", "qemu"), ("http", "applehv")):
            chosen = ironic(index, architecture, source)
            wanted = haulout.resolve(reference, architecture=architecture, disk_type=disk_type)
            assert chosen["digest"] == str(wanted.digest)
            manifest = json.loads((blobs / chosen["digest"].removeprefix("sha256:")).read_text())
            assert len(manifest["layers"]) == 1
            assert manifest["layers"][0]["mediaType"].endswith("zstd")
