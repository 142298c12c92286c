"""How a workload is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.brokers import BrokerWorkload


def lines(workload: BrokerWorkload) -> Iterator[str]:
    """Yield what people read."""
    policy = workload.policy
    yield workload.id
    yield f"  owner      {workload.owner}, since {workload.created}"
    yield (
        "  policy     none: no key is released"
        if policy is None
        else f"  policy     version {policy.version} ({policy.digest[:16]}…), since {policy.created}"
    )
    yield f"  releases   {workload.releases}"
    yield f"  resources  {', '.join(workload.resources) or 'none: there is no key to release'}"
