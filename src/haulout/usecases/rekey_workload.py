"""Give the disk of a workload another passphrase, or another key."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.errors import UsageError
from haulout.local import replace_file, storage_errors
from haulout.oci import Index
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.usecases.arguments import reference_of
from haulout.workload import (
    Image,
    Rekey,
    keep_passphrase,
    new_passphrase,
    policy_for,
    rekey_disk,
    rekey_image,
)

if TYPE_CHECKING:
    from haulout.oci import Digest, Reference
    from haulout.progress import Progress
    from haulout.workload import Binding, Rekeyed, Tee


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyRequest:
    """What to change.

    Attributes:
        subject: an image, or a disk by itself, as a path.
        passphrase: the one that opens the disk now.
        new: the one that opens it from then on; None: one is made.
        new_out: a file that must not exist, and gets the new passphrase.
        target: where the image goes, with a tag; None: where it is. For a disk, a path; None: the disk itself.
        reencrypt: whether the disk gets another master key, too: without, who has the old passphrase and an old copy
            of the disk's header can open the new disk as well.
        policy_out: gets a policy for ``haulout evidence verify`` that names the new binding of an image.
    """

    subject: Path | Reference
    passphrase: bytes = field(repr=False)
    new: bytes | None = field(default=None, repr=False)
    new_out: Path | None = None
    target: Path | Reference | None = None
    reencrypt: bool = False
    policy_out: Path | None = None


@dataclass(frozen=True, slots=True)
class RekeyedWorkload(Document):
    """What was changed.

    Attributes:
        reference: the image; None for a disk by itself.
        disk: the disk by itself; None for an image.
        rekeyed: the header's digest before and now, the new manifest and binding.
        reencrypted: whether the master key is another, too.
    """

    reference: Reference | None
    disk: Path | None
    rekeyed: Rekeyed
    reencrypted: bool
    passphrase_file: Path | None
    policy: Path | None

    json_members: ClassVar = (
        "reference",
        "disk",
        "manifest",
        "luks_header_before=rekeyed.before",
        "luks_header=rekeyed.header",
        "binding=rekeyed.binding",
        "reencrypted",
        "passphrase_file",
        "policy",
    )

    @property
    def manifest(self) -> Digest | None:
        """Of the image, as it is now."""
        return None if self.rekeyed.manifest is None else self.rekeyed.manifest.digest


def rekey_workload(
    request: RekeyRequest, *, connections: ConnectionOptions | None = None, progress: Progress | None = None
) -> RekeyedWorkload:
    """Write the image or disk of a workload anew, with another passphrase, or another key.

    The header of the disk changes, and with it the binding: a broker and policies have to be told the new one.

    Args:
        request: what to change.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        InvalidWorkload: it breaks a rule.
        WrongPassphrase: the old passphrase does not open the disk.
        HauloutError: see the tree in :mod:`haulout.errors`; until the last step everything is as it was.
    """
    connections, progress = connections or ConnectionOptions(), progress or NullProgress()
    _check(request)
    rekey = Rekey(request.passphrase, request.new or new_passphrase(), request.reencrypt)
    with ExitStack() as stack:
        keep = None
        if request.new_out is not None:
            keep = stack.enter_context(keep_passphrase(request.new_out, rekey.new))
        policy: Path | None = None

        def before(binding: Binding | None, tee: Tee | None) -> None:
            nonlocal policy
            if request.policy_out is not None:
                if binding is None or tee is None:
                    raise UsageError("there is no policy for what has no binding", hint="leave out --policy-out")
                text = policy_for(binding, tee, None)
                with storage_errors(request.policy_out):
                    replace_file(request.policy_out, text.encode())
                policy = request.policy_out
            if keep is not None:
                keep()

        if isinstance(request.subject, Path):
            target = Path(request.target) if isinstance(request.target, Path) else request.subject
            rekeyed = rekey_disk(request.subject, target, rekey, progress=progress, before=before)
            return RekeyedWorkload(None, target, rekeyed, request.reencrypt, request.new_out, policy)
        source = reference_of(request.subject)
        goal = source if request.target is None else request.target
        assert not isinstance(goal, Path)
        store = stack.enter_context(open_store(source, connections, progress))
        image = Image(store, source)
        if goal is source and isinstance(store.manifest(image.selector).parse(str(source)), Index):
            raise UsageError(
                f"{source} is an index of images, which would be replaced by one", hint="name another tag as DEST"
            )
        into = stack.enter_context(open_store(goal, connections, progress, push=True))
        tag = goal.tag
        assert tag is not None
        rekeyed = rekey_image(image, into, tag, rekey, progress=progress, before=before)
    return RekeyedWorkload(goal, None, rekeyed, request.reencrypt, request.new_out, policy)


def _check(request: RekeyRequest) -> None:
    """Refuse what cannot be done before any work."""
    if (request.new is None) == (request.new_out is None):
        raise UsageError(
            "the new passphrase has to come from one place",
            hint="use --new-passphrase-file FILE, or --new-passphrase-out FILE to have one made",
        )
    if request.new is not None and request.new == request.passphrase and not request.reencrypt:
        raise UsageError("the new passphrase is the old one", hint="use --reencrypt to change the key alone")
    goal = request.subject if request.target is None else request.target
    if isinstance(goal, Path) is not isinstance(request.subject, Path):
        raise UsageError("an image cannot be written to a file, or a disk to a reference")
    if not isinstance(goal, Path) and (goal.tag is None or goal.digest is not None):
        raise UsageError(f"cannot write to {goal}: a digest names existing content", hint="name a tag as DEST")
