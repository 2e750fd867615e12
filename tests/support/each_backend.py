"""`tests/any_backend` on each backend that can be imported, with a time limit: `python -m tests.support.each_backend`.

Nothing is installed, so it runs on a machine without a network too. Other options go to pytest, such as
`-k`, or the path of a test in place of the whole folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import limits
from benchmarks.machine import BACKENDS, SHARED_GPU

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **SHARED_GPU,  # Among workers.
    # Warnings are errors here, also those of another project's plugins that are installed on such a machine.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    # On JAX most tests compile small models that another test has compiled.
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
SUMMARY = re.compile(r"\d+ (passed|failed|error|skipped|deselected)|no tests ran")


def main(given: Sequence[str] | None = None) -> int:
    """Run them one after another, and print a line for each at the end.

    Returns:
        0 if the tests of every backend that is there have passed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.support.each_backend", description=main.__doc__)
    parser.add_argument("--within", type=float, default=295, help="seconds of all backends together")
    parser.add_argument("--workers", default="0", help="processes of pytest-xdist for each backend, if it is installed")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    options, arguments = parser.parse_known_args(given)
    arguments = [argument for argument in arguments if argument != "--"]
    if importlib.util.find_spec("xdist") is not None:
        arguments += ["-p", "xdist", "-n", options.workers, "--dist", "worksteal"]
    if not any((ROOT / argument.partition("::")[0]).exists() for argument in arguments):
        arguments.append("tests/any_backend")
    end = time.monotonic() + options.within
    installed = [name for name in options.backends if importlib.util.find_spec(name) is not None]
    lines = [f"{name}: not installed" for name in options.backends if name not in installed]
    passed = bool(installed)
    for place, backend in enumerate(installed):
        # An equal part of what is left: what one leaves over, the next has.
        limit = (end - time.monotonic()) / (len(installed) - place)
        line, good = tested(backend, arguments, limit)
        passed &= good
        lines.append(line)
    print("\n".join(["", *lines]))
    return 0 if passed else 1


def tested(backend: str, arguments: Sequence[str], limit: float) -> tuple[str, bool]:
    """Run pytest on a backend.

    Returns:
        A line of what came of it, and whether all passed.
    """
    summary = ""

    def show(line: str) -> None:
        nonlocal summary
        print(line, flush=True)
        if SUMMARY.search(line):
            summary = line.strip("= ")

    command = [sys.executable, "-m", "pytest", "-m", "not slow and not hours", *arguments]
    print(f"{backend}:", flush=True)
    seconds, status = limits.run(command, limit, environment={**ENVIRONMENT, "KERAS_BACKEND": backend}, on_line=show)
    if status is None:
        return f"{backend}: STOPPED after {seconds:.0f} s", False
    return f"{backend}: {'passed' if status == 0 else 'FAILED'} ({summary or f'status {status}'})", status == 0


if __name__ == "__main__":
    sys.exit(main())
