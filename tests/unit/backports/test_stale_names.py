"""Files that still name another branch."""

from __future__ import annotations

from haulout.backports.stale_names import is_upkeep, mentions

CI = """\
env:
  DEST_BRANCH: "main"
  SKOPEO_CI_BRANCH: 'main'  # other project
  GOOD_BRANCH: crio-1.31
on:
  push:
    branches: [main, release-*]
  pull_request:
    branches:
      - main
      - v0.57
  other:
    branches:
      - main
      - crio-*
name: main
"""


def test_files_that_name_another_branch():
    known = {"main", "v0.57", "crio-1.30"}
    found = mentions(".cirrus.yml", CI, "crio-1.31", known)
    assert [(one.line, one.branch) for one in found] == [
        (2, "main"),
        (3, "main"),
        (7, "main"),
        (10, "main"),
        (11, "v0.57"),
    ]
    owners = mentions(
        "OWNERS", "# approvers of crio-1.30\napprovers:\n  - main\n# see the main branch.\n", "crio-1.31", known
    )
    assert [(one.line, one.branch) for one in owners] == [(1, "crio-1.30"), (4, "main")]
    assert mentions("OWNERS", "# approvers of crio-1.31\n", "crio-1.31", known) == []


def test_upkeep_is_what_each_branch_has_of_its_own():
    assert all(map(is_upkeep, ("OWNERS", "pkg/OWNERS", ".cirrus.yml", ".github/workflows/ci.yml")))
    assert not any(map(is_upkeep, ("main.go", "owners.go", "pkg/x.yml")))
