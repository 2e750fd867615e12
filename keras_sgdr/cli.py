"""The command line: `keras-sgdr --help`, or `python -m keras_sgdr --help`.

Each function in `COMMANDS` is a subcommand; its arguments are the options, and its docstring is the help.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np

from keras_sgdr.cycles import WarmRestarts
from keras_sgdr.ensembles import SnapshotEnsemble
from keras_sgdr.planning import HEADINGS
from keras_sgdr.plotting import STROKES, plot_learning_rate
from keras_sgdr.snapshots import Manifest

if TYPE_CHECKING:
    import tyro

__all__ = ["COMMANDS", "main", "plan", "plot", "run"]


def plot(
    epochs: int,
    T_0: str = "10",
    T_mult: str = "2",
    eta_max: float = 1.0,
    eta_min: float = 0.0,
    eta_max_decay: float = 1.0,
    warmup: str = "0",
    log: bool = False,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("learning_rate.png"),
) -> None:
    """Draw the learning rate over the epochs.

    Args:
        epochs: Epochs to draw.
        T_0: Length of the first cycle in epochs; a number or a fraction, such as 1/3.
        T_mult: Factor from one cycle's length to the next.
        eta_max: Learning rate at every restart.
        eta_min: Learning rate that a cycle anneals to.
        eta_max_decay: Factor on eta_max at each restart.
        warmup: Epochs of linear rise before the first cycle.
        log: Draw the learning rate on a logarithmic scale.
        output: Picture to write; its ending says the format.
    """
    restarts = WarmRestarts(T_0, T_mult, eta_max, eta_min, eta_max_decay=eta_max_decay, warmup=warmup)
    _save(plot_learning_rate(restarts, epochs, log=log), output)
    ends = ", ".join(f"{end:g}" for end in restarts.cycle_ends(epochs))
    print(f"Cycles end after epochs: {ends or 'none'}. Written to {output}.")


def plan(
    epochs: int,
    cycles: int | None = None,
    warmup: str = "0",
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> None:
    """Propose cycles of which the last ends exactly at the budget.

    Args:
        epochs: The budget, in epochs.
        cycles: Number of cycles to fit in; else all of 1 to 8 that last at least an epoch each.
        warmup: Epochs of the budget that come before the first cycle.
        output: Picture of the first few proposals to write.
    """
    proposals = WarmRestarts.plan(epochs, cycles, warmup=warmup)
    # Here, as Keras brings it, but `import keras_sgdr` shall not.
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEADINGS, box=box.SIMPLE, title=f"{epochs} epochs")
    for proposal in proposals:
        table.add_row(*proposal.cells())
    Console().print(table)
    if output is not None:
        # As many as strokes tell apart.
        named = {str(proposal): proposal.restarts() for proposal in proposals[: len(STROKES)]}
        _save(plot_learning_rate(named, epochs), output)
        print(f"Written to {output}.")


def snapshots(directory: tyro.conf.Positional[Path]) -> None:
    """List the snapshots of a folder, and check their files.

    Args:
        directory: Folder that a SnapshotCheckpoint wrote.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    manifest = Manifest.read(directory)
    names = list(dict.fromkeys(name for one in manifest.snapshots for name in one.metrics))
    table = Table("cycle", "epoch", "update", "rate", *names, "file", box=box.SIMPLE, title=manifest.schedule)
    for one in manifest.snapshots:
        metrics = (f"{one.metrics[name]:.4f}" if name in one.metrics else "" for name in names)
        update = "" if one.update is None else str(one.update)
        table.add_row(str(one.cycle), f"{one.epoch:g}", update, f"{one.rate:.3g}", *metrics, one.file)
    Console().print(table)
    for one in manifest.snapshots:
        manifest.path(one)
    print(f"{len(manifest.snapshots)} files, whole and unchanged.")


def ensemble(
    directory: tyro.conf.Positional[Path],
    model: Path,
    data: Path,
    select: Literal["all", "last", "best", "greedy"] = "all",
    m: int | None = None,
    monitor: str = "val_loss",
    mode: Literal["auto", "min", "max"] = "auto",
    from_logits: bool | None = None,
    batch_size: int = 32,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> None:
    """Score the ensemble of a folder's snapshots and its members, and write its predictions.

    Args:
        directory: Folder that a SnapshotCheckpoint wrote.
        model: A .keras file of the model that was trained; of its weights none are used.
        data: An .npz file with the arrays x and, to score, y.
        select: Which members.
        m: How many.
        monitor: Metric that says which is best.
        mode: Whether less or more of it is better; auto goes by its name.
        from_logits: Whether the model gives logits; else its compiled loss says.
        batch_size: Samples in a batch.
        output: An .npy file of the mean probabilities to write.
    """
    import keras

    import keras_sgdr.optimizers  # noqa: F401  # A model compiled with one of them loads.

    # Opened here: where it is no archive, NumPy would leave it open.
    with data.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"] if "y" in arrays.files else None
    if y is None and output is None:
        raise ValueError(
            "There must be labels to score by, or predictions to write. Received: data without y, and no output. Put "
            "y into the .npz file, or pass -o."
        )
    loaded = keras.models.load_model(model)
    chosen = SnapshotEnsemble.load(
        directory,
        loaded,
        select,
        m,
        from_logits=from_logits,
        monitor=monitor,
        mode=mode,
        data=(x, y),
        batch_size=batch_size,
    )
    if y is not None:
        print(chosen.report(x, y, batch_size))
    if output is not None:
        np.save(output, chosen.predict(x, batch_size))
        print(f"Written to {output}.")


COMMANDS: dict[str, Callable[..., None]] = {"plot": plot, "plan": plan, "snapshots": snapshots, "ensemble": ensemble}


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: Words of the command line; None takes those of this process.

    Raises:
        ImportError: If tyro, or what the command needs, is not installed.
        ValueError: If an option is out of range.
        SystemExit: With status 2, if the words make no command; with 0, after help.
    """
    try:
        # Into the module, since the options' annotations name it, which are looked at no sooner.
        globals()["tyro"] = importlib.import_module("tyro")
    except ModuleNotFoundError as error:
        raise ImportError('The command line needs tyro: pip install "keras-sgdr[study]"') from error
    tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="keras-sgdr", description="SGDR, stochastic gradient descent with warm restarts.", args=arguments
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`run`, with errors in one line. Returns the exit status."""
    try:
        run(arguments)
    except (ImportError, LookupError, OSError, TypeError, ValueError, BadZipFile) as error:
        print(f"keras-sgdr: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _save(ax: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ax.figure.savefig(path, dpi=150)
