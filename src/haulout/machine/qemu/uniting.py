"""A data disk in two parts made one file while its guest runs, so that nothing of it is left to do while it is stopped.

QEMU writes what is in the part above into the one below, and goes over to that. In the moment of the change the guest
is paused, and the part above is removed before it writes again: killed anywhere, both together hold what they held.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import storage_errors, sync_folder
from haulout.machine.qemu.copying import POLL, data_node, end_job, job

if TYPE_CHECKING:
    from haulout.machine.qemu.qmp import Qmp

_NAME: Final = "haulout-unite"
_MOMENT_SECONDS: Final = 60.0


async def unite_data(qmp: Qmp, one: asyncio.Lock) -> None:
    """Make the data disk of a machine that runs one file.

    Args:
        qmp: of a machine whose data disk is in two parts.
        one: held, since there is one such job at a time.

    Raises:
        ToolError: QEMU cannot, or ended; it goes on with both parts.
        StorageError: the part above cannot be removed; the guest stays paused then, and is to be switched off.
    """
    async with one:
        await end_job(qmp, _NAME)
        below = {"driver": "file", "filename": await _file(qmp, "before-file"), "read-only": False, "discard": "unmap"}
        node = {"driver": "raw", "file": "before-file", "discard": "unmap", "detect-zeroes": "unmap"}
        try:
            options = [{"node-name": "before-file", **below}, {"node-name": "before", **node}]
            await qmp.execute("blockdev-reopen", options=options)
            await qmp.execute(
                "block-commit", **{"job-id": _NAME, "device": "data", "base-node": "before", "auto-dismiss": False}
            )
            while (found := await job(qmp, _NAME))["status"] not in {"ready", "concluded"}:  # noqa: ASYNC110 - QEMU tells by events, which nobody here reads
                await asyncio.sleep(POLL)
            if found["status"] == "ready":
                await qmp.execute("stop")
                async with asyncio.timeout(_MOMENT_SECONDS):
                    await qmp.execute("block-job-complete", device=_NAME)
                    while (found := await job(qmp, _NAME))["status"] != "concluded":  # noqa: ASYNC110 - as above
                        await asyncio.sleep(POLL / 4)
            if "error" in found:
                raise ToolError("QEMU", f"cannot unite the data disk: {found['error']}")
        except TimeoutError:
            raise ToolError("QEMU", "cannot unite the data disk: this host is too slow") from None
        finally:
            await end_uniting(qmp)
            with suppress(ToolError):
                await qmp.execute("cont")


async def end_uniting(qmp: Qmp) -> None:
    """End what was begun, by whomever: while the guest is paused, let it have both parts, or the one file.

    Raises:
        StorageError: what is not needed any more cannot be removed.
        ToolError: QEMU does not answer.
    """
    await end_job(qmp, _NAME)
    if await data_node(qmp) == "before" and (above := await _file(qmp, "data-file")):
        await asyncio.to_thread(_remove, Path(above), Path(await _file(qmp, "before-file")))
        with suppress(ToolError):
            for name in ("data", "data-file"):
                await qmp.execute("blockdev-del", **{"node-name": name})


def _remove(above: Path, below: Path) -> None:
    with storage_errors(below, doing="cannot be written"), below.open("rb+") as file:
        os.fsync(file.fileno())
    with storage_errors(above, doing="cannot be removed"):
        above.unlink(missing_ok=True)
        sync_folder(above.parent)


async def _file(qmp: Qmp, node: str) -> str:
    """Return the file of a node; "" where there is no such node."""
    nodes = await qmp.execute("query-named-block-nodes", flat=True)
    return next((str(each["file"]) for each in nodes if each["node-name"] == node), "")
