"""The commands and texts that a person is given: to resume picks, to push them, for a pull request. Pure.

Nothing here sends anything.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from haulout.backports.model import Fix, PickResult, Proposal, StrPath
from haulout.backports.trailers import plain_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.repository import Branch


def resume_command(lib: StrPath, branch: str, *rest: str) -> str:
    """Return ``haulout backport pick BRANCH …``, with ``--lib`` where it is needed."""
    place = os.fspath(lib)
    words = ["haulout", "backport", "pick", branch, *rest, *([] if place == "." else ["--lib", place])]
    return shlex.join(words)


def topic_name(onto: Branch, fixes: Sequence[Fix]) -> str:
    """Return the name of the branch that gets picks of fixes, where none is given."""
    first = fixes[0]
    lead = first.whole or (first.commits[0] if first.commits else None)
    about = first.id or (first.name if re.fullmatch(r"[#!]\d+", first.name) else "") or (lead.oid[:12] if lead else "")
    about = about.replace("#", "pull-").replace("!", "merge-request-")
    more = f"-and-{len(fixes) - 1}-more" if len(fixes) > 1 else ""
    return f"backport-{about}{more}-to-{onto.name}"


def proposal(result: PickResult) -> Proposal:
    """Return what to send after a successful pick."""
    base = result.branch.partition("/")[2] if result.branch.startswith(f"{result.remote}/") else result.branch
    sources = [one.source[:12] for one in result.picked]
    about = "-".join(result.fixes) or sources[0]
    head = result.target if result.target != base else f"backport-{about}-to-{base}"
    subjects = [one.subject for one in result.picked]
    title = f"[{base}] {plain_subject(subjects[0])}" if len(subjects) == 1 else f"[{base}] Backport {about}"
    lines = [f"Backport{'s' if len(subjects) > 1 else ''} to `{base}`:", ""]
    lines += [f"* {one.source}: {_inline(one.subject)}" for one in result.picked]
    if result.present:
        lines += ["", "Already there:", "", *(f"* {oid}" for oid in result.present)]
    if result.fixes:
        lines += ["", f"Fixes: {', '.join(result.fixes)}"]
    push = (
        f"git push {shlex.quote(result.remote or 'REMOTE')} {shlex.quote(result.target)}:refs/heads/{shlex.quote(head)}"
    )
    return Proposal(push, base, head, title, "\n".join(lines) + "\n")


def _inline(text: str) -> str:
    # Subjects are other people's text: no link, no mention of a person, no HTML comes out of them.
    for letter in "\\`*_[]<>":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("@", "@\u200b")
