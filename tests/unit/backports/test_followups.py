"""Lines followed through changes."""

from __future__ import annotations

from haulout.backports.followups import Hunk, Span, hunks, track


def test_lines_are_followed_through_changes():
    spans = [Span(10, 12)]
    assert track(spans, [Hunk(1, 2, 1, 5)]) == ([Span(13, 15)], False)
    assert track(spans, [Hunk(20, 1, 20, 0)]) == (spans, False)
    assert track(spans, [Hunk(11, 1, 11, 1)]) == ([], True)
    assert track(spans, [Hunk(9, 0, 10, 3)]) == ([Span(13, 15)], False)
    assert track(spans, [Hunk(12, 0, 13, 3)]) == (spans, False)
    assert track(spans, [Hunk(11, 0, 12, 3)]) == ([], True)
    assert hunks("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+b\n+c\n@@ -9,0 +11 @@\n") == {
        "x": [Hunk(1, 1, 1, 2), Hunk(9, 0, 11, 1)]
    }
    assert hunks("--- /dev/null\n+++ b/new\n@@ -0,0 +1,3 @@\n") == {"new": [Hunk(0, 0, 1, 3)]}
