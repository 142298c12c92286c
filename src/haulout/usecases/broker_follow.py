"""Follow a signed list of images, from a file or from where it is attached to an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.broker.policy import ARTIFACT_TYPE, ImageList, RefusedList, read_list
from haulout.content import read_blob
from haulout.documents import Document
from haulout.errors import NotFoundError, UsageError
from haulout.local import read_small
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.usecases.broker_access import OwnersApi
from haulout.usecases.broker_workload import get_policy
from haulout.usecases.discover import discovered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.usecases.broker_access import BrokerAccess

_LARGEST: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class FollowedList(Document):
    """A list that a workload follows now."""

    workload: str
    source: str
    list: ImageList

    json_members: ClassVar = (
        "workload",
        "source",
        "number=list.number",
        "minimum_epoch=list.minimum_epoch",
        "images=list.named",
        "digest=list.digest",
    )


def broker_workload_follow(
    access: BrokerAccess,
    workload: str,
    source: Path | Reference,
    *,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> FollowedList:
    """Have a workload follow a list: the images in it count from now on, besides those of its policy.

    Args:
        access: which broker.
        workload: whose images they are.
        source: a file; or an image that lists are attached to, of which that with the highest number counts.
        connections: how broker and registry are reached.
        progress: receives the work.

    Raises:
        RefusedList: no key that the policy pins signed it, it is another workload's, or older than the one before.
        NotFoundError: there is no such workload or file, or no list is attached.
        UsageError: the policy follows no list.
    """
    with OwnersApi(access, connections) as api:
        policy = get_policy(api, workload).policy
        if not policy.follows:
            raise UsageError(f"the policy of {workload} follows no list", hint="add [follow] with keys to it")
        if isinstance(source, Path):
            envelope = read_small(source, _LARGEST)
            listed = read_list(envelope, policy.keys, what=str(source))
        else:
            listed, envelope = _newest(source, workload, policy.keys, connections, progress or NullProgress())
        if listed.workload != workload:
            raise RefusedList("workload", f"it is for {listed.workload!r}, not {workload!r}")
        api.put(f"list of {workload}", "workloads", workload, "list", body=envelope)
    return FollowedList(workload, str(source), listed)


def _newest(
    reference: Reference,
    workload: str,
    keys: Sequence[bytes],
    connections: ConnectionOptions | None,
    progress: Progress,
) -> tuple[ImageList, bytes]:
    """Return the list with the highest number among those that are attached, for this workload, and signed."""
    found: list[tuple[ImageList, bytes]] = []
    refused: RefusedList | None = None
    with Places(connections, progress) as places:
        there = discovered(places, reference, ARTIFACT_TYPE, None, None, None)
        store = places.open(reference)
        for each in {one.digest: one for one in there.attached if one.artifact_type == ARTIFACT_TYPE}.values():
            for file in each.files:
                envelope = read_blob(store, file, _LARGEST, f"list of images {each.digest.short}")
                try:
                    listed = read_list(envelope, keys)
                except RefusedList as error:
                    # Anybody who may push can attach one: those of others do not hinder.
                    refused = error
                    continue
                if listed.workload == workload:
                    found.append((listed, envelope))
    if found:
        return max(found, key=lambda one: one[0].number)
    if refused is not None:
        raise refused
    raise NotFoundError(f"no list of images for {workload} is attached to {reference}", hint="docs/formats/images.md")
