"""What can go wrong with what a broker remembers."""

from __future__ import annotations

from haulout.errors import ContentError, HauloutError, UsageError


class StoreError(HauloutError):
    """The database of a broker cannot be reached, refuses, or is of another version."""

    exit_code = 10


class SealError(HauloutError):
    """Something that is sealed cannot be opened: its key is not at hand, or it was changed."""

    exit_code = 8


class InvalidKeyring(UsageError):  # noqa: N818 - as in haulout.errors
    """A file of key-encryption keys that cannot be read."""


class Unknown(HauloutError):  # noqa: N818
    """There is no such workload, resource or owner; or it is not this owner's, which is the same to them."""

    exit_code = 4

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no {what}")


class Taken(HauloutError):  # noqa: N818
    """The name is in use."""

    exit_code = 12

    def __init__(self, what: str) -> None:
        super().__init__(f"the {what} exists already", hint="choose another name")


class InvalidBackup(ContentError):  # noqa: N818 - as in haulout.errors
    """A file that is not a whole backup of a broker."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup cannot be restored: {reason}")
