"""What updates fix, as a file of the user's says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from haulout.errors import InvalidFile, NotFoundError
from haulout.local import wrong_file
from haulout.machine.update.fixes import Fixed, parse_fixes, read_fixes
from haulout.machine.update_settings import Severity

LIST = {
    "schema": 1,
    "versions": [
        {"digests": ["sha256:1"]},
        {"digests": ["sha256:2", "sha256:2arm"], "severity": "critical", "fixes": ["CVE-2026-1"]},
        {"digests": ["sha256:3"], "severity": "medium", "fixes": ["CVE-2026-2", "CVE-2026-1"]},
    ],
}


def parse(document):
    return parse_fixes(json.dumps(document).encode(), wrong_file(Path("fixes.json")))


def test_an_update_fixes_what_all_versions_up_to_it_fix():
    known = parse(LIST)
    assert known.fixed("sha256:1", "sha256:3") == Fixed(Severity.CRITICAL, ("CVE-2026-1", "CVE-2026-2"))
    assert known.fixed("sha256:2arm", "sha256:3") == Fixed(Severity.MEDIUM, ("CVE-2026-2", "CVE-2026-1"))
    assert known.fixed("sha256:old", "sha256:2") == Fixed(Severity.CRITICAL, ("CVE-2026-1",))
    assert known.fixed("sha256:old", "sha256:1") == Fixed(Severity.LOW, ())


@pytest.mark.parametrize(("current", "candidate"), [("sha256:1", "sha256:9"), ("sha256:3", "sha256:2"), ("a", "b")])
def test_nothing_is_known_of_what_is_not_listed_and_of_a_way_back(current, candidate):
    assert parse(LIST).fixed(current, candidate) is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"versions": []}, "schema: is missing"),
        ({"schema": 2, "versions": []}, "newer version"),
        ({"schema": 1, "versions": [{"severity": "high"}]}, "digests"),
        ({"schema": 1, "versions": [{"digests": ["5.0"]}]}, "digests"),
        ({"schema": 1, "versions": [{"digests": ["sha256:1"], "severity": "bad"}]}, "'bad' is not known"),
        ({"schema": 1, "versions": [{"digests": ["sha256:1"], "cve": []}]}, "cve"),
        ({"schema": 1, "version": []}, "version"),
        ([], "is not a JSON object"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused(document, said):
    with pytest.raises(InvalidFile, match=said):
        parse(document)


def test_a_file_that_is_not_there_or_is_no_json_is_refused(tmp_path):
    with pytest.raises(NotFoundError):
        read_fixes(tmp_path / "fixes.json")
    (tmp_path / "fixes.json").write_text("{")
    with pytest.raises(InvalidFile):
        read_fixes(tmp_path / "fixes.json")
