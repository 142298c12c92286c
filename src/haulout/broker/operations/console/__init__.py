"""A small page for owners that only shows: workloads, machines, forecast, refusals, attestations."""

from __future__ import annotations

from haulout.broker.operations.console.pages import Console
from haulout.broker.operations.console.view import ForecastLine, ForecastView

__all__ = ["Console", "ForecastLine", "ForecastView"]
