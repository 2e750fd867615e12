"""The command line: what it prints and writes, and errors in one line."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_sgdr import SGDR, SGDRSchedule, SnapshotCheckpoint, SnapshotEnsemble, WarmRestarts
from keras_sgdr.cli import main, parser, run
from keras_sgdr.optimizers import PyTorchSGD
from keras_sgdr.snapshots import Manifest
from tests.support.time_limit import within_seconds


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "new" / "lr.png"
    assert main(["plot", "--T_0", "10", "--T_mult", "2", "--epochs", "150", "-o", str(picture)]) == 0
    assert capsys.readouterr().out == f"Cycles end after epochs: 10, 30, 70, 150. Written to {picture}.\n"
    assert matplotlib.image.imread(picture).std() > 0
    (line,) = plt.gca().lines
    assert line.get_ydata() == pytest.approx(WarmRestarts(10, 2).learning_rates(150, 100))


def test_options_of_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ["--T_0", "1/3", "--T_mult", "1.5", "--eta_max", "0.2", "--eta_min", "0.01", "--warmup", "1"]
    others = ["--eta_max_decay", "0.5", "--log", "--output", str(tmp_path / "lr.svg")]
    assert main(["plot", "--epochs", "3", *numbers, *others]) == 0
    assert "Cycles end after epochs: 1.3333, 1.8333, 2.5833." in capsys.readouterr().out
    expected = WarmRestarts("1/3", 1.5, 0.2, 0.01, warmup=1, eta_max_decay=0.5).learning_rates(3, 100)
    assert plt.gca().lines[0].get_ydata() == pytest.approx(expected)
    assert plt.gca().get_yscale() == "log"


def test_without_a_length_three_cycles_fill_the_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--epochs", "70", "-o", str(tmp_path / "lr.png")]) == 0
    assert "Cycles end after epochs: 10, 30, 70." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "ends", "hint"),
    [
        (
            "--epochs 20 --T_0 3",
            "3, 9",
            "Cycle 3 is cut: it lasts from 9 to 21 epochs, and at 20 the learning rate has not come down. Pass "
            "--epochs 9 or 21, or see `keras-sgdr plan --epochs 20`.",
        ),
        (
            "--epochs 20 --T_0 30 --warmup 2",
            "none",
            "Cycle 1 is cut: it lasts from 2 to 32 epochs, and at 20 the learning rate has not come down. Pass "
            "--epochs 32, or see `keras-sgdr plan --epochs 20 --warmup 2`.",
        ),
        (
            "--epochs 2 --T_0 0.7 --T_mult 1.5",
            "0.7, 1.75",
            "Cycle 3 is cut: it lasts from 1.75 to 3.325 epochs, and at 2 the learning rate has not come down. See "
            "`keras-sgdr plan --epochs 2`.",
        ),
        ("--epochs 21 --T_0 3", "3, 9, 21", ""),
        ("--epochs 99 --T_0 1 --T_mult 1", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..., 99", ""),
    ],
)
def test_plot_says_which_cycle_is_cut(
    options: str,
    ends: str,
    hint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *options.split(), "-o", "lr.png"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"Cycles end after epochs: {ends}. Written to lr.png."
    assert " ".join(others) == hint
    assert all(len(line) <= 80 for line in others)


def test_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--epochs", "100", "--n_cycles", "4"]) == 0
    assert capsys.readouterr().out == f"{WarmRestarts.plan(100, 4)}\n"

    picture = tmp_path / "plan.png"
    assert main(["plan", "--epochs", "75", "--warmup", "5", "-o", str(picture)]) == 0
    assert capsys.readouterr().out.endswith(f"Written to {picture}.\n")
    assert picture.is_file()
    assert matplotlib.image.imread(picture).std() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "plot --epochs 9 --T_0 0",
            "--T_0 must be a positive number of epochs. Received: --T_0 0. Pass the length of the first cycle, such as "
            "--T_0 10.",
        ),
        (
            "plot --epochs 9 -o lr.xyz",
            "--output must end as a format of matplotlib. Received: --output lr.xyz. Pass a name that ends in .png, "
            ".svg or .pdf.",
        ),
        (
            f"plot --epochs 9 -o {300 * 'x'}",
            f"A file must be written whole. Received: '{300 * 'x'}.png', which could not be: [Errno 36] File name too",
        ),
        (
            "plot --epochs 9 --eta_max 0",
            "--eta_max must be a finite positive number. Received: --eta_max 0.0. Pass a learning rate, such as "
            "--eta_max 0.1.",
        ),
        ("plot --epochs -1", "--epochs must be a positive integer. Received: --epochs -1. Pass the epochs to draw."),
        (
            "plan --epochs 0",
            "--epochs must be a positive integer. Received: --epochs 0. Pass the epochs that `fit` will run.",
        ),
        (
            "plan --epochs 9 --n_cycles 0",
            "--n_cycles must be a positive integer, if it is given. Received: --n_cycles 0. Pass how many cycles to "
            "fit into the budget, or leave it out.",
        ),
        (
            "plan --epochs 9 --warmup 9",
            "--warmup must leave some of the budget of 9 epochs to the cycles. Received: --warmup 9. Pass --warmup 0 "
            "for none.",
        ),
        ("plan --epochs 400001 -o plan.png", "--epochs must be at most 400000. Received: --epochs 400001."),
    ],
    ids=str,
)
def test_errors_are_one_line(
    words: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"keras-sgdr: error: {message}")
    assert printed.count("\n") == 1


def test_without_a_command_there_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == parser().format_help()


@pytest.mark.parametrize("words", [["draw"], ["plan"], ["plan", "--epochs", "many"]], ids=str)
def test_words_that_make_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "keras-sgdr" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("plot", "--epochs --T_0 --T_mult --eta_max --eta_min --eta_max_decay --warmup --log -o --output"),
        ("plan", "--epochs --n_cycles --warmup -o --output"),
        ("snapshots", "directory"),
        ("ensemble", "directory --model --data --select --n_members --from_logits --batch_size -o --output"),
    ],
)
def test_help_names_every_option(command: str, options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert set(options.split()) <= set(re.findall(r"[\w-]+", capsys.readouterr().out))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"keras-sgdr {version('keras-sgdr')}\n"


def test_missing_matplotlib_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sgdr\[plot\]"'):
        run(["plot", "--epochs", "9"])
    assert main(["plot", "--epochs", "9"]) == 2
    assert capsys.readouterr().err == 'keras-sgdr: error: Drawing needs matplotlib: pip install "keras-sgdr[plot]"\n'
    assert main(["plan", "--epochs", "9"]) == 0


def test_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["keras_sgdr", "plan", "--epochs", "70", "--n_cycles", "0"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("keras_sgdr", run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("keras-sgdr: error: --n_cycles must be a positive integer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots of three cycles in `snapshots`, the model in `model.keras`, inputs and labels in `data.npz`."""
    path = tmp_path_factory.mktemp("trained")
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(PyTorchSGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callbacks = [SGDR(1, 1), SnapshotCheckpoint(path / "snapshots", monitor="loss")]
    model.fit(x, y, epochs=3, verbose=0, callbacks=callbacks)
    model.save(path / "model.keras")
    np.savez(path / "data.npz", x=x, y=y)
    return path


def test_snapshots(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshots", str(folder / "snapshots")]) == 0
    schedule, best, _, headings, *rows, _, files, last = capsys.readouterr().out.splitlines()
    # What is at its default is left out.
    assert (schedule, best) == ("WarmRestarts(T_0=1.0, T_mult=1.0, eta_max=0.5)", "Best by: loss")
    assert headings.split() == ["cycle", "epoch", "update", "rate", "loss"]
    assert [row.split()[:3] for row in rows] == [["1", "1", "1"], ["2", "2", "2"], ["3", "3", "3"]]
    names = [f"cycle-00{cycle}_epoch-000{cycle}.weights.h5" for cycle in (1, 2, 3)]
    assert f"{files} {last}" == f"Files, whole and unchanged: {', '.join(names)}"


@pytest.mark.parametrize(("more", "tables"), [([], 1), (["val_top_5_accuracy"], 2)])
def test_metrics_of_snapshots_are_a_table_of_80_columns(
    more: list[str], tables: int, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "snapshots", tmp_path / "snapshots")
    manifest = Manifest.read(tmp_path / "snapshots")
    names = ["loss", "accuracy", "val_loss", "val_accuracy", *more]
    found = [dataclasses.replace(snapshot, metrics=dict.fromkeys(names, 0.5)) for snapshot in manifest.snapshots]
    dataclasses.replace(manifest, snapshots=found).write()
    assert main(["snapshots", str(tmp_path / "snapshots")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("cycle ") for line in lines) == tables
    assert {"rate", *names} <= set(" ".join(lines).split())


def test_a_schedule_of_the_users_own_is_shown_as_it_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "snapshots", tmp_path / "snapshots")
    manifest = Manifest.read(tmp_path / "snapshots")
    dataclasses.replace(manifest, schedule="Triangle(height=2)").write()
    assert main(["snapshots", str(tmp_path / "snapshots")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "Triangle(height=2)"


def test_ensemble(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--model", str(folder / "model.keras"), "--data", str(folder / "data.npz")]
    written = tmp_path / "mean.npy"
    command = [
        "ensemble",
        str(folder / "snapshots"),
        *files,
        "--select",
        "last",
        "--n_members",
        "2",
        "-o",
        str(written),
    ]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["loss", "cycle", "cycle", "ensemble"]
    assert lines[-1] == f"Written to {written}."
    model = keras.saving.load_model(folder / "model.keras")
    with np.load(folder / "data.npz") as data:
        expected = SnapshotEnsemble.load(folder / "snapshots", model, "last", n_members=2).predict(data["x"])
    np.testing.assert_array_equal(np.load(written), expected)


def test_a_model_with_our_schedule_loads_in_a_process_of_the_command(folder: Path, tmp_path: Path) -> None:
    """By itself it imports nothing that saved models name."""
    model = keras.saving.load_model(folder / "model.keras")
    rate = SGDRSchedule(T_0=1, eta_max=0.5, steps_per_epoch=1)
    model.compile(keras.optimizers.SGD(rate), model.loss)
    model.save(tmp_path / "model.keras")
    files = ["--model", str(tmp_path / "model.keras"), "--data", str(folder / "data.npz")]
    command = [sys.executable, "-m", "keras_sgdr", "ensemble", str(folder / "snapshots"), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "\nensemble " in done.stdout


@pytest.mark.parametrize(("own", "held_back"), [(None, "3"), ("0", "0")])
def test_the_log_of_tensorflow_is_held_back_unless_the_user_says_otherwise(
    own: str | None, held_back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {} if own is None else {"TF_CPP_MIN_LOG_LEVEL": own})
    assert main(["plan", "--epochs", "9"]) == 0
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == held_back


def test_a_damaged_snapshot_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / "snapshots", tmp_path / "snapshots")
    path = tmp_path / "snapshots" / "cycle-002_epoch-0002.weights.h5"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["snapshots", str(tmp_path / "snapshots")]) == 2
    assert f"{path}', whose content has changed" in capsys.readouterr().err
    assert main(["snapshots", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("keras-sgdr: error: A folder of snapshots has a `snapshots.json`.")


def test_members_of_a_model_with_our_optimizer_by_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--model", str(folder / "model.keras"), "--data", str(folder / "data.npz")]
    assert main(["ensemble", str(folder / "snapshots"), *files, "--select", "greedy"]) == 0
    assert "ensemble" in capsys.readouterr().out
    assert main(["ensemble", str(folder / "snapshots"), *files, "--select", "best", "--n_members", "1"]) == 0
    best = Manifest.read(folder / "snapshots").best()[0].cycle
    assert capsys.readouterr().out.splitlines()[1].startswith(f"cycle {best} ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--n_members 3",
            '--n_members must be a positive integer, and --select other than "all". Received: --n_members 3. '
            "Pass --select last or --select best with the number of members.",
        ),
        ("--batch_size 0", "--batch_size must be a positive integer. Received: --batch_size 0."),
        (
            "--data unlabelled.npz --select greedy",
            "--select greedy must have labels to choose by. Received: unlabelled.npz",
        ),
        (
            "--model untold.keras",
            "The ensemble must know whether the model gives logits. Received: model='untold', compiled with loss=None, "
            "which does not tell. Pass --from_logits, or --no-from_logits for probabilities.",
        ),
    ],
)
def test_errors_are_in_the_words_of_the_command_line(
    words: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    np.savez("unlabelled.npz", x=np.zeros((2, 4)))
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="untold").save("untold.keras")
    files = ["--model", "model.keras", "--data", "data.npz"]
    assert main(["ensemble", "snapshots", *files, *words.split()]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"keras-sgdr: error: {message}")


def test_data_that_is_none_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4)))
    np.savez(tmp_path / "z.npz", z=np.zeros((2, 4)))
    np.save(tmp_path / "array.npy", np.zeros((2, 4)))
    np.savez(tmp_path / "objects.npz", x=np.array([None]))
    np.savez(tmp_path / "dates.npz", x=np.zeros((2, 4), "M8[s]"))
    np.savez(tmp_path / "number.npz", x=np.zeros((2, 4)), y=3)
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "changed.npz").write_bytes(whole.replace(b"NUMPY", b"NUMPI"))
    for name, message in (
        ("bad.npz", "bad.npz: File is not a zip file"),
        ("empty.npz", "empty.npz: No data left in file"),
        ("z.npz", "z.npz: 'x is not a file in the archive'"),
        ("objects.npz", "objects.npz: Object arrays cannot be loaded"),
        ("changed.npz", "changed.npz: "),
        ("dates.npz", "dates.npz: it has other than arrays of numbers or texts"),
        ("number.npz", "number.npz: it has other than arrays of numbers or texts"),
        ("bytes.npz", "bytes.npz: it has other than arrays of numbers or texts"),
        ("array.npy", "array.npy: it is a .npy file, of one array. Write it in Python, with np.savez(path, x=x, y=y)."),
        ("absent.npz", "--data must be a whole .npz file with the array x, and y to score by. Received: "),
        ("absent.npz", "absent.npz: No such file or directory. Write it in Python, with np.savez(path, x=x, y=y)."),
        ("x.npz", "There must be labels to score by, or predictions to write. Received: "),
        ("x.npz", "x.npz, which has no y, and no --output. Put y into the .npz file, or pass -o."),
    ):
        files = ["--model", str(folder / "model.keras"), "--data", str(tmp_path / name)]
        assert main(["ensemble", str(folder / "snapshots"), *files]) == 2
        printed = capsys.readouterr().err.splitlines()
        assert printed[-1].startswith("keras-sgdr: error: ")
        assert message in printed[-1]


@pytest.mark.parametrize("content", [b"", b"text", None, b"cut"], ids=["empty", "text", "absent", "cut"])
def test_a_bad_file_of_a_model_is_named(
    folder: Path, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.keras"
    if content is not None:
        path.write_bytes((folder / "model.keras").read_bytes()[:-50] if content == b"cut" else content)
    files = ["--model", str(path), "--data", str(folder / "data.npz")]
    assert main(["ensemble", str(folder / "snapshots"), *files]) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert "--model must be a whole .keras file, of classes that Keras knows. Received: " in printed
    assert f"bad.keras: {'No such file or directory. ' if content is None else ''}" in printed
    assert printed.endswith("Write it in Python, with model.save(path).")
    assert ".. Write" not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["plot", "--epochs", "1" + 30 * "0"],
        ["plot", "--epochs", 22 * "9"],
        ["plot", "--epochs", 22 * "9", "--T_0", "10"],
        ["plot", "--epochs", "1000000000", "--T_0", "10"],
        ["plot", "--epochs", "1", "--T_0", "2e-10", "--T_mult", "1"],
        ["plot", "--epochs", "5", "-o", "."],
        ["plan", "--epochs", 400 * "9"],
        ["plot", "--epochs", "5", "--warmup", "1e300", "--T_0", "1"],
        ["plan", "--epochs", "5", "-o", "."],
    ],
    ids=" ".join,
)
def test_what_cannot_be_drawn_is_refused_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with within_seconds(1):
        assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    # Of this package: the rule, what was received, the fix.
    assert "Received: " in printed


def test_a_picture_without_an_ending_is_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--epochs", "5", "-o", str(tmp_path / "rates")]) == 0
    assert f"Written to {tmp_path / 'rates.png'}." in capsys.readouterr().out
    assert (tmp_path / "rates.png").is_file()
