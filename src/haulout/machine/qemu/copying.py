"""A copy of the data disk of a guest that runs, as the disk is in one moment.

QEMU mirrors the disk until the copy is the same, and lets go of it. The disk itself is not touched: whatever is killed
meanwhile, it is right.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from haulout.machine.qemu.qmp import Qmp

_NAME: Final = "haulout-copy"
POLL: Final = 0.2
_MOMENT_SECONDS: Final = 60.0


async def copy_data(
    qmp: Qmp, one: asyncio.Lock, target: Path, moment: AbstractAsyncContextManager[object]
) -> AsyncGenerator[int, None]:
    """Copy the data disk, and yield how many bytes are done.

    Args:
        qmp: of a machine that runs.
        one: held, since there is one copy at a time.
        target: an empty file of the disk's size; zeros stay holes.
        moment: held while the copy ends.

    Raises:
        ToolError: QEMU cannot, or ended.
    """
    async with one:
        # One that nobody waited for, as where a supervisor was killed.
        await _end(qmp)
        file = {"driver": "file", "filename": str(target), "discard": "unmap"}
        await qmp.execute("blockdev-add", **{"node-name": _NAME, "driver": "raw", "discard": "unmap", "file": file})
        try:
            # What the guest writes is written to both, so that this ends however much it writes.
            how = {"sync": "full", "copy-mode": "write-blocking", "auto-dismiss": False}
            await qmp.execute(
                "blockdev-mirror", **{"job-id": _NAME, "device": await data_node(qmp), "target": _NAME, **how}
            )
            while (found := await job(qmp, _NAME))["status"] not in {"ready", "concluded"}:
                yield int(found["current-progress"])
                await asyncio.sleep(POLL)
            async with moment, asyncio.timeout(_MOMENT_SECONDS):
                if found["status"] == "ready":
                    # Without force: the copy is complete then (QEMU, docs/interop/live-block-operations).
                    await qmp.execute("block-job-cancel", device=_NAME, force=False)
                while (found := await job(qmp, _NAME))["status"] != "concluded":  # noqa: ASYNC110 - QEMU tells by events, which nobody here reads
                    await asyncio.sleep(POLL / 4)
            if "error" in found:
                raise ToolError("QEMU", f"cannot copy the data disk: {found['error']}")
        except TimeoutError:
            raise ToolError("QEMU", "cannot copy the data disk: this host is too slow") from None
        finally:
            await _end(qmp)


async def data_node(qmp: Qmp) -> str:
    """Return the node that the guest's data disk is: ``before`` where it became one file while it ran."""
    devices = await qmp.execute("query-block")
    return next((node for each in devices if (node := each.get("inserted", {}).get("node-name")) == "before"), "data")


async def job(qmp: Qmp, name: str) -> dict[str, Any]:
    """Return how a job is."""
    found: list[dict[str, Any]] = await qmp.execute("query-jobs")
    return next((each for each in found if each["id"] == name), {"status": "null"})


async def end_job(qmp: Qmp, name: str) -> None:
    """End a job.

    Raises:
        ToolError: QEMU does not answer.
    """
    while (status := (await job(qmp, name))["status"]) != "null":
        # Another command of QEMU may end it at the same moment.
        with suppress(ToolError):
            await qmp.execute("job-dismiss" if status == "concluded" else "job-cancel", id=name)
        await asyncio.sleep(0 if status == "concluded" else POLL)


async def _end(qmp: Qmp) -> None:
    """End a job, and let go of its file; never fails."""
    with suppress(ToolError):
        await end_job(qmp, _NAME)
        await qmp.execute("blockdev-del", **{"node-name": _NAME})
