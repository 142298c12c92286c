"""What commit messages state about their sources, reverts and identifiers."""

from __future__ import annotations

import pytest

from haulout.backports.trailers import (
    Citation,
    fixed,
    identifiers,
    reverted,
    reverted_subject,
    sources,
    subject_key,
)
from haulout.backports.trailers import (
    mentions as message_mentions,
)

OID = "5a550b6fe26068dd1d5d1e1b6ac0b8a2b9d5f0aa"


@pytest.mark.parametrize(
    ("message", "signal"),
    [
        (f"Mend\n\n(cherry picked from commit {OID})", "trailer"),
        (f"Mend\n\n(cherry-picked from commit {OID})\nSigned-off-by: B", "trailer"),
        (f"Mend\n\n(backported from commit {OID[:12]})", "trailer"),
        (f"Mend\n\ncommit {OID} upstream.\n", "note"),
        (f"Mend\n\n[ Upstream commit {OID} ]\n", "note"),
        (f"Mend\n\nUpstream-commit: {OID}", "note"),
        (f"Mend\n\nOrigin: backport, https://example.com/x, commit:{OID}", "note"),
    ],
)
def test_messages_name_their_source(message, signal):
    (found,) = sources(message)
    assert found.signal == signal
    assert OID.startswith(found.oid)


def test_a_message_may_name_several_and_none_is_made_up():
    assert sources(f"x\n\n(cherry picked from commit {OID})\n(cherry picked from commit {'b' * 40})") == (
        Citation("trailer", OID),
        Citation("trailer", "b" * 40),
    )
    assert sources("See commit 1234567 for more; picked up the phone") == ()
    assert sources(f"commit {OID} upstream has a bug") == ()


def test_reverts_and_fixes():
    assert reverted(f'Revert "x"\n\nThis reverts commit {OID}.') == (OID,)
    assert reverted("Revert the logic") == ()
    assert reverted_subject('Revert "[crio-1.28] x"\n\nIt broke y.') == "[crio-1.28] x"
    assert reverted_subject('[crio-1.28] Revert "x"') == "x"
    assert reverted_subject(f'Revert "x"\n\nThis reverts commit {OID}.') is None
    assert reverted_subject("Reverting is hard") is None
    assert fixed(f"x\n\nFixes: {OID[:12]} (y)") == (OID[:12],)
    assert fixed("Fixes: #1234567") == ()
    assert message_mentions(f"follows up {OID[:12]}", OID)
    assert not message_mentions(f"follows up {OID[:7]}", OID)


def test_identifiers_are_written_officially():
    text = "fix cve-2024-9341, GHSA-MC76-5925-C5P6 and GO-2024-3169; not CVE-24-1 or GHSA-aaaa"
    assert identifiers(text) == ("CVE-2024-9341", "GHSA-mc76-5925-c5p6", "GO-2024-3169")


@pytest.mark.parametrize(
    "subject",
    [
        "Resolve paths",
        "[crio-1.27] Resolve paths",
        "[release-0.53] [crio-1.27] resolve  paths.",
        "Backport: Resolve paths",
        "Resolve paths (#1234)",
        "[x]Resolve paths (#1) (#2)",
        "Resolve paths (containers/common#12)",
    ],
)
def test_subjects_are_compared_without_what_backports_add(subject):
    assert subject_key(subject) == "resolve paths"
