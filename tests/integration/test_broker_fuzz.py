"""Requests that schemathesis makes from the OpenAPI documents, ours and Trustee's: no answer is a failure of the server.

``make test-broker`` runs it. Trustee's document is not part of this repository: KBS_YAML names a copy of its kbs/docs/kbs.yaml.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.brokers import SECRET, Guest, make_folder, register, serving

from haulout.broker import digest_of

TOKEN = "token-of-alice"
KBS_YAML = os.environ.get("KBS_YAML")
EXAMPLES = os.environ.get("HAULOUT_TEST_EXAMPLES", "50")
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("HAULOUT_TEST_BROKER"), reason="HAULOUT_TEST_BROKER is not set: make test-broker"
    ),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "state"
    store = make_folder(folder)
    with store.write() as unit:
        unit.owners.credit("alice", digest_of(TOKEN), "token", datetime.now(UTC))
    register(store)
    store.close()
    with serving(folder, "--offline", "--client-limit", "1e6/1e6", "--workload-limit", "1e6/1e6", plain=True) as found:
        yield found


def fuzz(server, document, url, checks, tmp_path, *more):
    """Run schemathesis; return how many requests were sent, by status."""
    report = tmp_path / "report.ndjson"
    # Its folders stay here.
    command = [Path(sys.executable).parent / "schemathesis", "run", document, "--url", url, "--checks", checks]
    done = subprocess.run(
        [
            *command,
            "--max-examples",
            EXAMPLES,
            "--report-ndjson-path",
            str(report),
            "--continue-on-failure",
            "--no-color",
            *more,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def statuses(server):
    """Count what the broker's own log says that it answered."""
    lines = (server.folder / f"log-{server.port}").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    answered = [line["status"] for line in found if line["logger"] == "haulout.broker.access"]
    assert [line for line in found if line["message"] == "failed"] == []
    return {status: answered.count(status) for status in sorted(set(answered))}


def sendable(document):
    """Let bodies in TOML be text: schemathesis cannot write TOML."""
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/toml" in content:
                content["text/plain"] = {**content.pop("application/toml"), "schema": {"type": "string"}}
    return document


@pytest.mark.parametrize("who", ["owner", "nobody"])
def test_our_document_holds_and_no_answer_is_a_failure(server, tmp_path, who):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(sendable(server.ask("GET", "/openapi.json").json)))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    more = ("-H", f"Authorization: Bearer {TOKEN}") if who == "owner" else ()
    # The 503 that the document promises is for a database that is away, which it is not here.
    text = fuzz(server, document, f"http://127.0.0.1:{server.port}", checks, tmp_path, *more)
    assert int(re.findall(r"(\d+) generated", text)[-1]) > 300
    counted = statuses(server)
    assert sum(counted.values()) > 300
    assert [status for status in counted if status >= 500] == []
    if who == "nobody":
        assert server.fetch(Guest()) == SECRET


@pytest.mark.skipif(not KBS_YAML, reason="KBS_YAML does not name a copy of Trustee's kbs.yaml")
def test_trustees_document_leads_to_no_failure(server, tmp_path):
    assert KBS_YAML is not None
    document = tmp_path / "kbs.yaml"
    # Its "stinrg" is no type of JSON.
    document.write_text(Path(KBS_YAML).read_text().replace("stinrg", "string"))
    fuzz(server, document, f"http://127.0.0.1:{server.port}/kbs/v0", "not_a_server_error", tmp_path)
    counted = statuses(server)
    assert sum(counted.values()) > 100
    assert [status for status in counted if status >= 500] == []


def test_the_tool_is_there():
    assert shutil.which("schemathesis", path=str(Path(sys.executable).parent))
