"""Transfer: the main verbs, push and pull, and what they share."""

from haulout.transfer.delta import delta
from haulout.transfer.look import inventory, resolve
from haulout.transfer.pull import pull
from haulout.transfer.push import DiskSource, push
from haulout.transfer.results import DeltaResult, PullResult, PushedDisk, PushResult

__all__ = [
    "DeltaResult",
    "DiskSource",
    "PullResult",
    "PushResult",
    "PushedDisk",
    "delta",
    "inventory",
    "pull",
    "push",
    "resolve",
]
