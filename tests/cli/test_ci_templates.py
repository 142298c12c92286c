"""The templates for CI are run as their systems would: each step by bash, with the variables they set."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.support.sandbox import CREDENTIALS, ROOT, sandbox
from tests.support.servers import needs

pytestmark = [pytest.mark.tools, needs("docker-registry", "qemu-img", "jq")]
FOLDER = ROOT / "docs/ci"
VERSIONS = [f"v1.{number}" for number in range(8, 14)]
KINDS = {(architecture, kind) for architecture in ("x86_64", "aarch64") for kind in ("applehv", "qemu", "hyperv")}


@pytest.fixture
def place(tmp_path):
    with sandbox(tmp_path) as made:
        build = made.path / "build.sh"
        # What changes from version to version is the version.
        build.write_text(
            "#!/bin/sh -e\nfor arch in x86_64 aarch64; do cp disk.raw disk-$arch.raw\n"
            'printf %s "$THIS" | dd of=disk-$arch.raw bs=1 seek=1048576 conv=notrunc status=none; done\n'
        )
        build.chmod(0o755)
        yield made


def read(name):
    text = (FOLDER / name).read_text()
    extra = re.search(r"pip\"? install --quiet 'haulout\[(\w+)\]'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra, "it installs haulout"
    assert extra[1] in project["optional-dependencies"]
    return yaml.safe_load(text)


def run(place, steps, environment):
    """Run steps in one bash, as the systems do: end at the first that fails."""
    done = place.haulout("--version")
    assert done.code == 0
    script = place.path / "steps.sh"
    script.write_text("set -eo pipefail\n" + "\n".join(steps))
    exports = " ".join(f"{key}='{value}'" for key, value in environment.items())
    done = place.shell(f"{exports} bash steps.sh")
    assert done.code == 0, done.out + done.err
    return done.out


def check(place, repository, printed):
    """Five versions, each with six disks; the newest is also the latest, and pulls."""
    listed = place.haulout("tags", repository, "--json").json
    assert [version["tag"] for version in listed["versions"] if version["tag"] != "latest"] == VERSIONS[:0:-1]
    pushed = json.loads((place.path / "pushed.json").read_text())
    assert {(disk["architecture"], disk["disk_type"]) for disk in pushed["disks"]} == KINDS
    for architecture, kind in KINDS:
        assert f"{architecture}/{kind}" in printed
    assert VERSIONS[-1] in printed
    newest = place.haulout("resolve", f"{repository}:{VERSIONS[-1]}").out
    assert place.haulout("resolve", f"{repository}:latest").out == newest
    assert place.haulout("resolve", f"{repository}:{VERSIONS[1]}").code == 0
    assert place.haulout("pull", f"{repository}:latest", "--type", "applehv", "-o", "pulled.raw").code == 0
    assert (place.path / "pulled.raw").read_bytes() == (place.path / "disk-x86_64.raw").read_bytes()


def test_github_actions(place):
    template = read("github-actions.yml")
    assert template[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 takes "on" for true
    (job,) = template["jobs"].values()
    repository = f"{place.host}/owner/name/machines"
    contexts = {
        "github.actor": CREDENTIALS[0],
        "secrets.GITHUB_TOKEN": CREDENTIALS[1].replace("'", "'\\''"),
        "github.repository": "owner/name",
        "github.server_url": "https://git.example.com",
        "github.sha": "0" * 40,
    }
    printed = ""
    for version in VERSIONS:
        known = contexts | {"github.ref_name": version}

        def filled(text, known=known):
            return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], text).replace("ghcr.io", place.host)

        shared = {key: filled(value) for key, value in template["env"].items()}
        shared |= {"THIS": version, "GITHUB_STEP_SUMMARY": "summary.md"}
        for step in job["steps"]:
            # Contexts in a script would be pasted into it unquoted: they come by the environment only.
            assert "${{" not in step.get("run", "")
            assert step.get("if") in {None, "env.REGISTRY != 'ghcr.io'"}
            if "run" in step and step["name"] != "Install":
                own = {key: filled(value) for key, value in step.get("env", {}).items()}
                printed += run(place, [step["run"]], shared | own)
    check(place, repository, printed)
    assert (place.path / "summary.md").read_text().count("| x86_64/qemu |") == len(VERSIONS)


def test_gitlab_ci(place):
    (job,) = read("gitlab-ci.yml").values()
    printed = ""
    for version in VERSIONS:
        known = {
            "CI_COMMIT_TAG": version,
            "CI_COMMIT_SHA": "0" * 40,
            "CI_PROJECT_URL": "https://git.example.com/owner/name",
            "CI_REGISTRY": place.host,
            "CI_REGISTRY_IMAGE": f"{place.host}/owner/name",
            "CI_REGISTRY_USER": CREDENTIALS[0],
            "CI_REGISTRY_PASSWORD": CREDENTIALS[1].replace("'", "'\\''"),
        }
        own = {key: re.sub(r"\$(\w+)", lambda found, known=known: known[found[1]], value) for key, value in job["variables"].items()}
        printed += run(place, job["script"], known | own | {"THIS": version})
    check(place, f"{place.host}/owner/name/machines", printed)


def test_every_template_is_tested():
    assert {path.name for path in Path(FOLDER).glob("*.yml")} == {"github-actions.yml", "gitlab-ci.yml"}
