"""Bad command lines: each must end with a nonzero status and a short message, and write nothing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import matplotlib as mpl

import benchmarks.__main__
import faults.__main__
import keras_sgdr.cli
from faults.command_lines import (
    BENCHMARKS,
    EXAMPLES,
    FAULTS,
    OURS,
    PROCESSES,
    REFERENCE,
    Words,
    make_files,
    of_ensembles,
    of_snapshots,
)
from faults.trials import Fault, Settings, Trials

ROOT = Path(__file__).resolve().parents[2]
# Letters, and lines: the usage of a command may take some of either.
LONGEST, MOST_LINES = 1500, 25
SECONDS = 10


def trials(settings: Settings) -> Iterator[Trials]:
    # Not above: its torchvision crashes where TensorFlow was imported before, as it may be in a test of `refuse`.
    import torch_reference.__main__ as reference

    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), mock.patch.dict(os.environ, ANTS_BEES_DIR="no"):
        make_files()
        programs: list[tuple[str, Callable[[Words], object], list[Words]]] = [
            ("keras-sgdr", keras_sgdr.cli.main, OURS + of_snapshots() + of_ensembles()),
            ("python -m torch_reference", as_main(reference.main), REFERENCE),
            ("python -m benchmarks", lambda words: benchmarks.__main__.main(words), BENCHMARKS),
            ("python -m faults", lambda words: faults.__main__.main(words), FAULTS),
            *((f"python examples/{script}", script_of(script), words) for script, words in EXAMPLES.items()),
            ("as a process of its own", in_process, PROCESSES),
        ]
        for program, run, lines in programs:
            # A process of its own also imports a backend.
            within = SECONDS * (6 if run is in_process else 1)
            row = Trials(f"bad command lines: {program}", settings.backend)
            for words in lines[:: settings.count(1, 8)]:
                line = " ".join(word if len(word) < 60 else f"{word[:57]}..." for word in words)
                refused = row.attempt(line or "without words", lambda: refuse(run, words), within=within)  # noqa: B023
                row.refused += bool(refused)
            yield row


def refuse(run: Callable[[Words], object], words: Words) -> bool:
    """Run a bad command line, and see how it ends."""
    before = files()
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(words)
    except SystemExit as stopped:
        status = stopped.code
        if isinstance(status, str):
            err.write(status)
    except Exception as error:
        raise Fault("inside", f"{type(error).__name__}: {str(error)[:300]}") from error
    words_of_it = err.getvalue().strip()
    if not status:
        raise Fault("wrong", f"status {status}, and it says {out.getvalue().strip()[:200]!r}")
    if "Traceback" in words_of_it or not words_of_it:
        raise Fault("inside", words_of_it[-300:] or "no message")
    if len(words_of_it) > LONGEST or words_of_it.count("\n") >= MOST_LINES:
        raise Fault("inside", f"a message of {len(words_of_it)} letters: {words_of_it[:200]}")
    if (after := files()) != before:
        raise Fault("outside", f"{after.keys() ^ before.keys() or 'a file'} changed")
    return True


def files() -> dict[str, str]:
    """The files and folders here, with the digests of what is in them."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in Path().rglob("*")
    }


def as_main(main: Callable[[], object]) -> Callable[[Words], object]:
    """A `main` that reads the words of its process."""

    def run(words: Words) -> object:
        with mock.patch.object(sys, "argv", ["program", *words]):
            return main()

    return run


def script_of(name: str) -> Callable[[Words], object]:
    return as_main(lambda: runpy.run_path(str(ROOT / "examples" / name), run_name="__main__"))


def in_process(words: Words) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, check=False)
    print(ended.stdout)
    # What a backend says of the machine is not the program's.
    print("\n".join(line for line in ended.stderr.splitlines() if "warn" not in line.lower()), file=sys.stderr)
    return ended.returncode
