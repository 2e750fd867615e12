"""The command line: `keras-sgdr --help`, or `python -m keras_sgdr --help`.

Each command is a function whose arguments are the options that `parser` declares. What needs Keras, which takes seconds
to import, is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_sgdr._checks import integer, invalid, require
from keras_sgdr._files import replace_file
from keras_sgdr._text import aligned
from keras_sgdr.plotting import STROKES, plot_learning_rate
from keras_sgdr.schedules import WarmRestarts

__all__ = ["ensemble", "main", "parser", "plan", "plot", "run", "snapshots"]


# What a command can fail with that is not a fault of the program: wrong values, files and missing packages.
_REFUSALS = (
    ArithmeticError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)


def plot(
    epochs: int,
    T_0: str | None,
    T_mult: str,
    eta_max: float,
    eta_min: float,
    eta_max_decay: float,
    warmup: str,
    log: bool,
    output: Path,
) -> None:
    """Draw the learning rate over the epochs."""
    integer("epochs", epochs, "Pass the epochs to draw.")
    restarts = WarmRestarts(T_0, T_mult, eta_max, eta_min, eta_max_decay=eta_max_decay, warmup=warmup)
    schedule = restarts.for_fit(epochs, eta_max)
    written = _save(plot_learning_rate(schedule, epochs, log=log), output)
    ends = ", ".join(f"{end:g}" for end in schedule.cycle_ends(epochs))
    print(f"Cycles end after epochs: {ends or 'none'}. Written to {written}.")


def plan(epochs: int, n_cycles: int | None, warmup: str, output: Path | None) -> None:
    """Propose cycles of which the last ends exactly at the budget."""
    proposals = WarmRestarts.plan(epochs, n_cycles, warmup=warmup)
    print(proposals)
    if output is not None:
        # As many as strokes tell apart.
        labels = [f"T_0={T_0}, T_mult={T_mult}, {cycles} cycles" for T_0, T_mult, cycles, *_ in proposals.rows]
        schedules = dict(list(zip(labels, proposals, strict=True))[: len(STROKES)])
        print(f"Written to {_save(plot_learning_rate(schedules, epochs), output)}.")


def snapshots(directory: Path) -> None:
    """List the snapshots of a folder, and check their files."""
    from keras_sgdr.snapshots import Manifest

    manifest = Manifest.read(directory)
    names = list(dict.fromkeys(name for snapshot in manifest.snapshots for name in snapshot.metrics))
    rows = [["cycle", "epoch", "update", "rate", *names, "file"]]
    for snapshot in manifest.snapshots:
        update = "" if snapshot.update is None else str(snapshot.update)
        metrics = [f"{snapshot.metrics[name]:.4f}" if name in snapshot.metrics else "" for name in names]
        rows.append([str(snapshot.cycle), f"{snapshot.epoch:g}", update, f"{snapshot.rate:.3g}", *metrics])
        rows[-1].append(snapshot.file)
    print(f"{manifest.schedule}\nBest by: {manifest.monitor}\n\n{aligned(rows)}")
    for snapshot in manifest.snapshots:
        manifest.path(snapshot)
    print(f"\n{len(manifest.snapshots)} files, whole and unchanged.")


def ensemble(
    directory: Path,
    model: Path,
    data: Path,
    select: Literal["all", "last", "best", "greedy"],
    n_members: int | None,
    from_logits: bool | None,
    batch_size: int,
    output: Path | None,
) -> None:
    """Score the ensemble of a folder's snapshots and its members, and write its predictions."""
    from keras_sgdr.snapshots import SnapshotEnsemble

    x, y = _arrays(data)
    if y is None and output is None:
        rule = "There must be labels to score by, or predictions to write."
        raise invalid(rule, "data without y, and no output", "Put y into the .npz file, or pass -o.")
    members = SnapshotEnsemble.load(
        directory,
        _model(model),
        select,
        n_members,
        from_logits=from_logits,
        data=(x, y),
        batch_size=batch_size,
    )
    if y is not None:
        print(members.report(x, y, batch_size))
    if output is not None:
        written = output if output.suffix == ".npy" else Path(f"{output}.npy")  # As NumPy names it.
        array = io.BytesIO()  # Given a file, NumPy says nothing if the disk is full.
        np.save(array, members.predict(x, batch_size))
        replace_file(written, lambda unfinished: unfinished.write_bytes(array.getbuffer()))
        print(f"Written to {written}.")


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    words = argparse.ArgumentParser("keras-sgdr", description="SGDR, stochastic gradient descent with warm restarts.")
    words.add_argument("--version", action="version", version=f"keras-sgdr {version('keras-sgdr')}")
    commands = words.add_subparsers(required=True, metavar="COMMAND")

    def command(function: Any) -> Any:
        added = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        added.set_defaults(command=function)
        return added.add_argument

    option = command(plot)
    option("--epochs", type=int, required=True, help="epochs to draw")
    option(
        "--T_0", help="length of the first cycle in epochs, a number or a fraction; unless given, there are 3 cycles"
    )
    option("--T_mult", default="2", help="factor from one cycle's length to the next (default: %(default)s)")
    option("--eta_max", type=float, default=1.0, help="learning rate at every restart (default: %(default)s)")
    option("--eta_min", type=float, default=0.0, help="learning rate that a cycle anneals to (default: %(default)s)")
    option("--eta_max_decay", type=float, default=1.0, help="factor on eta_max at each restart (default: %(default)s)")
    option("--warmup", default="0", help="epochs of linear rise before the first cycle (default: %(default)s)")
    option("--log", action="store_true", help="draw the learning rate on a logarithmic scale")
    picture = Path("learning_rate.png")
    option("-o", "--output", type=Path, default=picture, help="picture to write (default: %(default)s)")

    option = command(plan)
    option("--epochs", type=int, required=True, help="the budget, in epochs")
    option("--n_cycles", type=int, help="cycles to fit in; unless given, 1 to 8 that last at least an epoch each")
    option("--warmup", default="0", help="epochs of the budget before the first cycle (default: %(default)s)")
    option("-o", "--output", type=Path, help="picture of the first few proposals to write")

    option = command(snapshots)
    option("directory", type=Path, help="folder that a SnapshotCheckpoint wrote")

    option = command(ensemble)
    option("directory", type=Path, help="folder that a SnapshotCheckpoint wrote")
    option("--model", type=Path, required=True, help=".keras file of the model; its weights are not used")
    option("--data", type=Path, required=True, help=".npz file with the arrays x and, to score, y")
    selections = ["all", "last", "best", "greedy"]
    option("--select", choices=selections, default="all", help="which members (default: %(default)s)")
    option("--n_members", type=int, help="how many of the last or the best; at most that with greedy")
    logits = "whether the model gives logits; unless given, the loss that it was compiled with says so"
    option("--from_logits", action=argparse.BooleanOptionalAction, default=None, help=logits)
    option("--batch_size", type=int, default=32, help="samples in a batch (default: %(default)s)")
    option("-o", "--output", type=Path, help=".npy file of the mean probabilities to write")
    return words


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: Words of the command line; None takes those of this process.

    Raises:
        ImportError: If what the command needs is not installed.
        ValueError: If an option is out of range.
        SystemExit: With status 2, if the words make no command; with 0, after help and the version.
    """
    options = vars(parser().parse_args(arguments))
    options.pop("command")(**options)


def main(arguments: Sequence[str] | None = None) -> int:
    """`run`, with errors in one line. Returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # What a console cannot show is no error.
    # Before TensorFlow is imported, which logs to the terminal from then on. What fails is raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        run(arguments)
    except _REFUSALS as error:
        print(f"keras-sgdr: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _model(path: Path) -> Any:
    """The model of a .keras file."""
    import keras

    # A model that was compiled with one of them loads.
    import keras_sgdr.optimizers
    import keras_sgdr.schedules.in_graph  # noqa: F401

    try:
        return keras.models.load_model(path)
    except Exception as error:  # Of a damaged file, of any type.
        rule = "The model must be a whole .keras file, of classes that Keras knows."
        raise invalid(rule, f"{path}: {error}", "Write it with model.save(path).") from error


def _arrays(path: Path) -> tuple[Any, Any]:
    """The arrays `x` and `y` of a .npz file, None where it has no `y`."""
    try:
        # Opened here: where it is no archive, NumPy would leave it open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"] if "y" in arrays.files else None
            for array in (x, y):
                # What is no array in the archive, NumPy gives as bytes.
                if array is not None and (np.ndim(array) == 0 or array.dtype.kind not in "biufSU"):
                    raise ValueError("it has other than arrays of numbers or texts")
            return x, y
    except Exception as error:  # Of a damaged file, of any type.
        if isinstance(error, OSError) and error.filename is not None:
            raise  # Names the file.
        rule = "The data must be a whole .npz file with the array x, and y to score by."
        raise invalid(rule, f"{path}: {error}", "Write it with np.savez(path, x=x, y=y).") from error


def _save(ax: Any, path: Path) -> Path:
    """Write a picture, a PNG where the name has no ending. Returns its path."""
    rule, fix = "The picture must be written to a file.", "Pass a name such as learning_rate.png."
    require(not path.is_dir(), rule, "output", str(path), fix)
    path = path if path.suffix else path.with_suffix(".png")
    replace_file(path, partial(ax.figure.savefig, dpi=150))
    return path
