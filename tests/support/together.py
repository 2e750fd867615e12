"""Processes that train one model together, on this machine alone and within a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["SECONDS", "free_port", "together"]

SECONDS = 120
CHECKOUT = Path(__file__).resolve().parents[2]
HERE = {"GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(CHECKOUT)}


def together(
    module: str, folder: Path, *arguments: str | Path, environments: Sequence[Mapping[str, str]] = ({}, {})
) -> list[dict[str, Any]]:
    """Run a module in processes that begin together: `python -m MODULE FOLDER NUMBER ...`.

    Args:
        module: Its dotted name. It prints what it has to tell as JSON, on its last line.
        folder: Its first argument. The second is the number of the process, from 0.
        *arguments: Its other arguments.
        environments: Variables of the environment of each process, beyond those of this one.

    Returns:
        What each has printed.
    """
    # It needs psutil, which a machine with a GPU may lack: there the short tests alone are run.
    from tests.support.addresses import other_addresses

    command = [sys.executable, "-W", "ignore", "-m", module, str(folder)]
    end = time.monotonic() + SECONDS
    started = []
    with tempfile.TemporaryDirectory() as logs, other_addresses() as addresses:
        outputs = [(Path(logs) / f"{number}.out", Path(logs) / f"{number}.err") for number in range(len(environments))]
        try:
            for number, (environment, paths) in enumerate(zip(environments, outputs, strict=True)):
                # Not pipes: one that is full would stop the process, and so all of them, while another is waited for.
                with paths[0].open("w") as output, paths[1].open("w") as errors:
                    words = [*command, str(number), *map(str, arguments)]
                    variables = {**os.environ, **HERE, **environment}
                    started.append(subprocess.Popen(words, env=variables, stdout=output, stderr=errors))
            # One that has failed leaves the others waiting.
            while None in (codes := [process.poll() for process in started]) and not any(codes):
                assert time.monotonic() < end, [errors.read_text()[-3000:] for _, errors in outputs]
                time.sleep(0.05)
        finally:
            for process in started:
                process.kill()
                process.wait()
        assert not any(codes), [errors.read_text()[-3000:] for _, errors in outputs]
        printed = [json.loads(output.read_text().splitlines()[-1]) for output, _ in outputs]
    assert not addresses
    return printed


def free_port() -> str:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
