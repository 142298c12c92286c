"""Device files: requests to a driver that are not reading or writing."""

from __future__ import annotations

import fcntl


def control(descriptor: int, request: int, argument: bytearray) -> None:
    """Send a request to the driver of an open device (ioctl); it reads and writes ``argument``.

    Raises:
        OSError: the driver refuses.
    """
    fcntl.ioctl(descriptor, request, argument, True)
