"""The command line: `keras-sgdr --help`, or `python -m keras_sgdr --help`.

Each command is a function whose arguments are the options that `parser` declares. What needs Keras, which takes seconds
to import, is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import inspect
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
from keras_sgdr._optional import import_keras
from keras_sgdr._options import in_options
from keras_sgdr._text import aligned, wrapped
from keras_sgdr.plotting import plot_learning_rate, plot_schedules
from keras_sgdr.schedules import WarmRestarts
from keras_sgdr.schedules.exact import MOST_RATES
from keras_sgdr.schedules.planning import listed

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
    _check_drawn(epochs)
    restarts = WarmRestarts(T_0, T_mult, eta_max, eta_min, eta_max_decay=eta_max_decay, warmup=warmup)
    schedule = restarts.for_fit(epochs, eta_max)
    written = _save(plot_learning_rate(schedule, epochs, log=log).figure, output)
    print(f"Cycles end after epochs: {listed(schedule.cycle_ends(epochs)) or 'none'}. Written to {written}.")
    cut = schedule.cycle_at(epochs)
    if cut is not None and cut.start < epochs:
        ends = (cut.start, cut.end) if cut.index else (cut.end,)
        better = [str(end) for end in ends if end.denominator == 1]
        fix = f"Pass --epochs {' or '.join(better)}, or see" if better else "See"
        budget = f"--epochs {epochs}" if warmup == "0" else f"--epochs {epochs} --warmup {warmup}"
        lasts = f"it lasts from {float(cut.start):g} to {float(cut.end):g} epochs"
        reason = f"Cycle {cut.index + 1} is cut: {lasts}, and at {epochs} the learning rate has not come down."
        print(wrapped(f"{reason} {fix} `keras-sgdr plan {budget}`."))


def plan(epochs: int, n_cycles: int | None, warmup: str, output: Path | None) -> None:
    """Propose cycles of which the last ends exactly at the budget."""
    if output is not None:
        _check_drawn(epochs)
    proposals = WarmRestarts.plan(epochs, n_cycles, warmup=warmup)
    print(proposals)
    if output is not None:
        titles = (f"T_0={T_0}, T_mult={T_mult}, cycles: {cycles}" for T_0, T_mult, cycles, *_ in proposals.rows)
        figure = plot_schedules(dict(zip(titles, proposals, strict=True)), epochs)
        figure.supylabel("Learning rate / eta_max")
        print(f"Written to {_save(figure, output)}.")


def snapshots(directory: Path) -> None:
    """List the snapshots of a folder, and check their files."""
    import_keras()
    from keras_sgdr.snapshots import Manifest

    manifest = Manifest.read(directory)
    names = list(dict.fromkeys(name for snapshot in manifest.snapshots for name in snapshot.metrics))
    rows = [["cycle", "epoch", "update", "rate", *names]]
    for snapshot in manifest.snapshots:
        update = "" if snapshot.update is None else str(snapshot.update)
        metrics = [f"{snapshot.metrics[name]:.4f}" if name in snapshot.metrics else "" for name in names]
        rows.append([str(snapshot.cycle), f"{snapshot.epoch:g}", update, f"{snapshot.rate:.3g}", *metrics])
    print(f"{wrapped(_without_defaults(manifest.schedule))}\nBest by: {manifest.monitor}\n\n{aligned(rows)}\n")
    files = [manifest.path(snapshot).name for snapshot in manifest.snapshots]
    print(wrapped(f"Files, whole and unchanged: {', '.join(files) or 'none'}"))


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
    import_keras()
    from keras_sgdr.snapshots import SnapshotEnsemble

    x, y = _arrays(data)
    if y is None and select == "greedy":
        rule = "--select greedy must have labels to choose by."
        raise invalid(rule, f"{data}, which has no y", "Put y into the .npz file.")
    if y is None and output is None:
        rule = "There must be labels to score by, or predictions to write."
        raise invalid(rule, f"{data}, which has no y, and no --output", "Put y into the .npz file, or pass -o.")
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


# Of the library too: its messages use these names. It has its own `model`, `data` and `directory`.
_ARGUMENTS = {name for command in (plot, plan, ensemble) for name in inspect.signature(command).parameters}
_ARGUMENTS -= {"directory", "model", "data"}


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    words = argparse.ArgumentParser("keras-sgdr", description="SGDR, stochastic gradient descent with warm restarts.")
    words.add_argument("--version", action="version", version=f"keras-sgdr {version('keras-sgdr')}")
    commands = words.add_subparsers(metavar="COMMAND")

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
    option("-o", "--output", type=Path, help="picture of the proposals to write")

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
    words = parser()
    options = vars(words.parse_args(arguments))
    if "command" not in options:
        words.print_help(sys.stderr)
        raise SystemExit(2)
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
        print(f"keras-sgdr: error: {in_options(' '.join(str(error).split()), _ARGUMENTS)}", file=sys.stderr)
        return 2
    return 0


def _without_defaults(schedule: str) -> str:
    """What a manifest says of a schedule, without the arguments that are at their defaults."""
    for name, value in WarmRestarts().get_config().items():
        schedule = schedule.replace(f", {name}={value!r}", "")
    return schedule


def _model(path: Path) -> Any:
    """The model of a .keras file."""
    import keras

    # A model that was compiled with one of them loads.
    import keras_sgdr.optimizers
    import keras_sgdr.schedules.in_graph  # noqa: F401

    rule = "--model must be a whole .keras file, of classes that Keras knows."
    fix = "Write it in Python, with model.save(path)."
    try:
        path.open("rb").close()  # Of a file that is not there, Keras says less.
        return keras.models.load_model(path)
    except Exception as error:  # Of a damaged file, of any type.
        raise _damaged(rule, path, error, fix) from error


def _arrays(path: Path) -> tuple[Any, Any]:
    """The arrays `x` and `y` of a .npz file, None where it has no `y`."""
    rule = "--data must be a whole .npz file with the array x, and y to score by."
    fix = "Write it in Python, with np.savez(path, x=x, y=y)."
    try:
        # Opened here: where it is no archive, NumPy would leave it open.
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise ValueError("it is a .npy file, of one array")
            x, y = arrays["x"], arrays["y"] if "y" in arrays.files else None
            for array in (x, y):
                # What is no array in the archive, NumPy gives as bytes.
                if array is not None and (np.ndim(array) == 0 or array.dtype.kind not in "biufSU"):
                    raise ValueError("it has other than arrays of numbers or texts")
            return x, y
    except Exception as error:  # Of a damaged file, of any type.
        raise _damaged(rule, path, error, fix) from error


def _damaged(rule: str, path: Path, error: Exception, fix: str) -> ValueError:
    reason = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
    return invalid(rule, f"{path}: {reason}", fix)


def _check_drawn(epochs: int) -> None:
    integer("epochs", epochs, "Pass the epochs to draw.", most=MOST_RATES // 100)  # At 100 updates an epoch.


def _save(figure: Any, path: Path) -> Path:
    """Write a picture, a PNG where the name has no ending. Returns its path."""
    fix = "Pass a name such as learning_rate.png."
    # `Path.is_dir` fails where the name is too long.
    require(not os.path.isdir(path), "`output` must be the name of a file.", "output", str(path), fix)
    path = path if path.suffix else path.with_suffix(".png")
    formats = figure.canvas.get_supported_filetypes()
    rule, fix = "`output` must end as a format of matplotlib.", "Pass a name that ends in .png, .svg or .pdf."
    require(path.suffix[1:].lower() in formats, rule, "output", str(path), fix)
    replace_file(path, partial(figure.savefig, dpi=150))
    return path
