"""Transfer: the main verbs, push and pull, and what they share."""

from haulout.transfer.look import inventory, resolve
from haulout.transfer.pull import pull
from haulout.transfer.push import DiskSource, push
from haulout.transfer.results import PullResult, PushedDisk, PushResult

__all__ = ["DiskSource", "PullResult", "PushResult", "PushedDisk", "inventory", "pull", "push", "resolve"]
