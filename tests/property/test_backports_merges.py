"""Merges in generated histories: ``pick M --mainline 1`` comes to what ``status M`` says."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from tests.support.backport_histories import Import

from haulout.backports import abort_pick, pick, status
from haulout.backports.fix import resolve
from haulout.backports.plan import Wishes, judge
from haulout.backports.repository import open_repository

MERGES, BRANCHES, LINES = 24, 4, 7
WORDS = ("left", "right", "open")
"""Few, so that a branch may have done the same."""


def edited(rng: random.Random, lines: list[str]) -> list[str]:
    """Change, insert or remove lines of a file."""
    after, at = list(lines), rng.randrange(len(lines))
    after[at : at + rng.choice((0, 1, 1, 1))] = rng.choices(WORDS, k=rng.choice((0, 1, 1, 1, 2)))
    return after if after and after != lines else edited(rng, lines)


@pytest.fixture(scope="module", params=[1, 2])
def library(request, tmp_path_factory):
    """Pull requests of two or three commits, each in a file of its own, and branches on which these files drifted."""
    rng, path = random.Random(request.param), tmp_path_factory.mktemp("merges") / "lib"
    git = Import(path)
    names = [f"f{number}.go" for number in range(MERGES)]
    begun = {name: [f"step {one}" for one in range(LINES)] for name in names}

    def commit(branch: str, parents: list[str], message: str, files: dict[str, list[str]], author: str = "Bo") -> str:
        return git.commit(
            branch, parents, message, {name: "\n".join([*lines, ""]) for name, lines in files.items()}, author
        )

    first = tip = commit("main", [], "Begin", begun)
    drifted = [dict(begun) for _ in range(BRANCHES)]
    merges = []
    for name in names:
        lines, head = begun[name], tip
        for part in range(rng.choice((2, 3))):
            # Some undo what came before.
            lines = edited(rng, begun[name] if rng.random() < 0.3 else lines)
            head = commit(f"pr-{name}", [head], f"{name}, part {part}", {name: lines}, "Anna")
            for own in drifted:
                # Someone did the same there, or the first part of it, and maybe more.
                if rng.random() < 0.2:
                    own[name] = lines
        merges.append(tip := commit("main", [tip, head], f"Merge pull request from x/{name}", {name: lines}))
        for own in drifted:
            if rng.random() < 0.6:
                own[name] = edited(rng, own[name])
    for number, own in enumerate(drifted):
        commit(f"rel-{number}", [first], "Go on", own)
    git.end()
    repository = open_repository(path)
    for name, value in (("user.name", "Bo"), ("user.email", "bo@example.com")):
        repository.git.run("config", name, value)
    return repository, merges


def test_a_merge_picked_as_one_comes_to_what_status_says(library):
    """Where the merge as one conflicts, its commits are picked; where they conflict, status says if it applies."""
    repository, merges = library
    columns = status(repository.path, merges, branches=["rel-*"]).columns
    branches = [cell.branch for cell in columns[0].cells]
    kinds = defaultdict(list)
    for merge, column in zip(merges, columns, strict=True):
        fix = resolve(repository, merge, (), mainline=1)
        for cell, plan in zip(column.cells, judge(repository, [fix], branches, Wishes(), mainline=1), strict=True):
            (judged,) = plan.cells
            as_one = any(
                "pick it with --mainline" in one.text and " applies as one" in one.text for one in cell.evidence
            )
            comes = "present" if not plan.sources else "applies" if judged.pick else "conflicts"
            kinds[cell.state.value, as_one, comes, plan.sources == (merge,)].append((merge, cell.branch.name))
    expected = {
        ("present", False, "present", False),
        ("not affected", False, "present", False),
        ("missing, applies", False, "applies", True),
        ("missing, applies", False, "applies", False),
        ("missing, conflicts", False, "conflicts", True),
        ("missing, conflicts", True, "applies", True),
        ("partly", False, "conflicts", True),
        ("partly", True, "applies", True),
    }
    assert {kind: some[:2] for kind, some in kinds.items() if kind not in expected} == {}
    assert ("missing, applies", False, "applies", False) in kinds
    assert any(as_one for _, as_one, _, _ in kinds)
    said = {"present": "already there", "applies": "picked", "conflicts": "conflict"}
    for (_, _, comes, _), some in kinds.items():
        for merge, branch in some[:1]:
            done = pick(repository.path, branch, [merge], mainline=1)
            assert done.outcome.value == said[comes], (merge, branch)
            if done.stop is not None:
                abort_pick(repository.path, done.target)
