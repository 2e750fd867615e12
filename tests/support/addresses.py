"""Which addresses a process and those that it has started are connected to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil

from keras_sgdr.study.workers import LOCALHOST

__all__ = ["LOCALHOST_OF_RAY", "other_addresses"]

# Ray replaces 127.0.0.1 by the machine's outward address wherever it could be part of a cluster of several machines.
LOCALHOST_OF_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextlib.contextmanager
def other_addresses() -> Iterator[set[str]]:
    """Watch the connections of this process and its descendants. Yields where they led, but for this machine."""
    led: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not ended.wait(0.1):
            for process in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    for connection in process.net_connections("inet"):
                        if connection.raddr and connection.raddr.ip not in (LOCALHOST, "::1", f"::ffff:{LOCALHOST}"):
                            led.add(f"{connection.raddr.ip}:{connection.raddr.port}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield led
    finally:
        ended.set()
        thread.join()
