"""What vendors publish, at hand: a folder that is verified, fetched in the background, or filled by hand."""

from __future__ import annotations

__all__ = ["Cache", "Entry", "Refresher", "Services", "Supplied", "Supply", "fetch"]

from haulout.broker.operations.collateral.cache import Cache, Entry
from haulout.broker.operations.collateral.fetch import Services, fetch
from haulout.broker.operations.collateral.refresh import Refresher
from haulout.broker.operations.collateral.supply import Supplied, Supply
