"""Bad command lines, and the files and folders that they name."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_sgdr import SGDR, SnapshotCheckpoint
from keras_sgdr._files import sealed
from keras_sgdr.snapshots import MANIFEST

__all__ = [
    "BENCHMARKS",
    "EXAMPLES",
    "FAULTS",
    "OURS",
    "PROCESSES",
    "REFERENCE",
    "Words",
    "make_files",
    "of_ensembles",
    "of_snapshots",
]

Words = Sequence[str]
DEEP = 100_000


def make_files() -> None:
    """The files and folders that the command lines name."""
    x, y = np.random.default_rng(0).normal(size=(8, 3)).astype("float32"), np.arange(8) % 2
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"])
    model.save("model.keras")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[SGDR(1, 1), SnapshotCheckpoint("good", monitor="loss")])
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), keras.layers.Dense(2)])
    other.save("other.keras")
    Path("folder", "within").mkdir(parents=True)
    Path("folder.keras").mkdir()
    Path("folder.npz").mkdir()
    Path("folder.npy").mkdir()
    Path("file").write_text("text")
    for index, name in enumerate(("train/ants", "train/bees", "val/ants", "val/bees")):
        Path("drawn", name).mkdir(parents=True)
        pixels = np.random.default_rng(index).integers(256, size=(40, 48, 3), dtype="uint8")
        Image.fromarray(pixels).save(f"drawn/{name}/0.png")
    np.savez("data.npz", x=x, y=y)
    for name, arrays in {
        "without_x": {"y": y},
        "no_samples": {"x": x[:0], "y": y[:0]},
        "other_length": {"x": x, "y": y[:3]},
        "other_width": {"x": x[:, :2], "y": y},
        "other_classes": {"x": x, "y": y + 9},
        "no_classes": {"x": x, "y": y + 0.5},
        "nan_labels": {"x": x, "y": y * np.nan},
        "text": {"x": x.astype("U"), "y": y},
        "scalar": {"x": np.float32(1), "y": y},
        "pickled": {"x": np.array([{"a": 1}] * 8, "O"), "y": y},
        "without_y": {"x": x},
    }.items():
        np.savez(f"{name}.npz", **arrays)  # type: ignore[arg-type]
    whole = Path("data.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    Path("flipped.npz").write_bytes(whole[:100] + bytes(byte ^ 255 for byte in whole[100:140]) + whole[140:])
    np.save("array.npy", x)
    Path("array.npz").write_bytes(Path("array.npy").read_bytes())
    model_file = Path("model.keras").read_bytes()
    Path("cut.keras").write_bytes(model_file[: len(model_file) // 2])
    for name, config in {
        "deep": "[" * DEEP,
        "list": "[]",
        "number": "1",
        "none": "",
        "unknown": '{"class_name": "No"}',
    }.items():
        with zipfile.ZipFile(f"{name}.keras", "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", "{}")
    with zipfile.ZipFile("empty.keras", "w"):
        pass
    for name in ("empty.npz", "empty.pth"):
        Path(name).touch()
    for name in ("text.keras", "words.npz", "cut.safetensors"):
        Path(name).write_text("This is no archive.")
    for name, text in MANIFESTS.items():
        Path("manifests", name).mkdir(parents=True)
        Path("manifests", name, MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    good = Path("good", MANIFEST).read_text()
    for name in ("missing", "cut", "changed"):
        Path(name).mkdir()
        Path(name, MANIFEST).write_text(good)
        for file in Path("good").glob("*.h5"):
            content = file.read_bytes()
            if name != "missing":
                Path(name, file.name).write_bytes(content[:99] if name == "cut" else content[:-1] + b"\0\1")


ENTRY = {"cycle": 1, "epoch": 1, "update": 1, "rate": 0.1, "metrics": {}, "file": "../a.weights.h5", "sha256": "0"}
ENTRY |= {"keras": "3", "architecture": "0"}
MANIFESTS: dict[str, str | bytes] = {
    "deep": "[" * DEEP,
    "deep_entry": '{"a":' * DEEP + "1" + "}" * DEEP,
    "empty": "",
    "binary": bytes(range(256)),
    "list": "[]",
    "number": "9" * 5000,
    "null": "null",
    "unsealed": '{"format": 1, "snapshots": []}',
    "infinite": '{"format": 1e999, "sha256": "0"}',
    "format": sealed({"format": 99, "snapshots": []}),
    "without": sealed({"format": 1}),
    "no_list": sealed({"format": 1, "snapshots": 5, "schedule": "", "monitor": "loss", "mode": "min"}),
    "no_entries": sealed({"format": 1, "snapshots": [1], "schedule": "", "monitor": "loss", "mode": "min"}),
    "outside": sealed({"format": 1, "snapshots": [ENTRY], "schedule": "", "monitor": "loss", "mode": "min"}),
    "mode": sealed({"format": 1, "snapshots": [], "schedule": "", "monitor": "loss", "mode": "best"}),
}
HUGE = "9999999999999999999999"
OURS: list[Words] = [
    [],
    ["draw"],
    ["--unknown"],
    ["plot"],
    ["plan"],
    *(["plot", "--epochs", value] for value in (HUGE, "0", "-1", "1.5", "nan", "many", "", "9" * 400, "1000000000")),
    *(["plan", "--epochs", value] for value in (HUGE, "0", "-1", "1.5", "nan", "many", "9" * 400)),
    *(
        ["plot", "--epochs", "9", "--T_0", value]
        for value in ("0", "-1", "nan", "inf", "1/0", "x", "1e999999999", HUGE * 20)
    ),
    *(["plot", "--epochs", "9", "--T_mult", value] for value in ("0", "-2", "nan", "two", "1/3/4")),
    *(["plot", "--epochs", "9", "--eta_max", value] for value in ("0", "-0.1", "nan", "inf", "1e400", "big")),
    *(["plot", "--epochs", "9", "--eta_min", value] for value in ("-1", "2", "nan", "inf")),
    *(["plot", "--epochs", "9", "--eta_max_decay", value] for value in ("0", "1.1", "nan")),
    *(["plot", "--epochs", "9", "--warmup", value] for value in ("-1", "9", "nan", "x", "1e999999999")),
    *(
        ["plot", "--epochs", "9", "-o", value]
        for value in ("folder", "file/picture.png", "a.xyz", "\0.png", ".", "x" * 300)
    ),
    ["plot", "--epochs", "9", "--colour", "red"],
    *(["plan", "--epochs", "9", "--n_cycles", value] for value in ("0", "-1", "99999", HUGE, "1.5")),
    *(["plan", "--epochs", "9", "--warmup", value] for value in ("9", "-1", "nan", "1e999999999")),
    ["plan", "--epochs", "9", "-o", "folder"],
]
REFERENCE: list[Words] = [
    *(["--epochs", value] for value in ("many", "1.5", "")),
    *(["--depth", value] for value in ("51", "x")),
    ["--optimizer", "adam"],
    ["--unknown"],
    ["words"],
    ["--data", "no"],
    ["--data", "file"],
    ["--data", "folder"],
    [],
    *(
        ["--data", "drawn", "--weights", "none", "--image_size", "32", f"--{name}", value]
        for name, values in {
            "image_size": ("0", "-1", HUGE),
            "batch_size": ("0", "-1"),
            "epochs": ("0", "-1"),
            "seed": ("-1", HUGE),
            "T_0": ("0", "nan", "-1"),
            "T_mult": ("0", "inf"),
            "eta_max": ("-1", "nan"),
            "eta_min": ("1", "-1", "nan"),
            "weights": ("no.pth", "file", "folder", "empty.pth", "cut.safetensors", "data.npz"),
            "output": ("file", "file/within"),
        }.items()
        for value in values
    ),
]
BENCHMARKS: list[Words] = [
    ["nothing"],
    ["--sizes", "96"],
    ["--sizes", "ax16"],
    ["--backends", "mxnet"],
    ["--profile", "huge"],
    ["--rounds", "many"],
    ["--limit", "x"],
    ["--unknown"],
]
FAULTS: list[Words] = [
    ["nothing"],
    ["--seed", "x"],
    ["--jobs", "0"],
    ["--jobs", "-1"],
    ["--backends", "mxnet"],
    ["--unknown"],
]
WRONG: list[Words] = [["--epochs", "many"], ["--unknown"], ["--seed", "1.5"]]
EXAMPLES: dict[str, list[Words]] = {
    "finetune_ants_bees.py": [*WRONG, ["--eta_max", "high"], ["--depth", "51"]],
    "compare_schedules.py": WRONG,
    "snapshot_ensemble.py": WRONG,
    "make_figures.py": [["--unknown"], ["words"]],
}
PROCESSES: list[Words] = [
    ["-m", "keras_sgdr", "plot", "--epochs", HUGE],
    ["-m", "keras_sgdr", "snapshots", "manifests/deep"],
    ["-m", "torch_reference", "--data", "no"],
]


def of_snapshots() -> list[Words]:
    folders = [
        "no",
        "file",
        "folder",
        "",
        "\0",
        "missing",
        "cut",
        "changed",
        *(f"manifests/{name}" for name in MANIFESTS),
    ]
    return [["snapshots"], ["snapshots", "good", "more"], *(["snapshots", name] for name in folders)]


def of_ensembles() -> list[Words]:
    def line(*, folder: str = "good", model: str = "model.keras", data: str = "data.npz", more: Words = ()) -> Words:
        return ["ensemble", folder, "--model", model, "--data", data, *more]

    datas: tuple[str, ...] = (
        "no",
        "folder",
        "folder.npz",
        "without_x",
        "no_samples",
        "other_length",
        "other_width",
        "other_classes",
        "empty",
    )
    datas += (
        "no_classes",
        "nan_labels",
        "text",
        "scalar",
        "pickled",
        "without_y",
        "cut",
        "flipped",
        "array",
        "words",
    )
    models = ("no", "folder", "other", "cut", "deep", "list", "number", "none", "unknown", "empty", "text")
    more = (
        *(["--batch_size", value] for value in ("0", "-1", "x", HUGE)),
        *(["--n_members", value] for value in ("1", "-1", "x", HUGE)),
        ["--select", "some"],
        ["--select", "last", "--n_members", "3"],
        ["-o", "file/predictions.npy"],
        ["-o", "folder.npy"],
        ["--unknown"],
    )
    return [
        ["ensemble"],
        ["ensemble", "good"],
        *(line(folder=name) for name in ("no", "file", "folder", "missing", "cut", "changed", "manifests/deep")),
        *(line(model=f"{name}.keras") for name in models),
        line(model="file"),
        line(model="folder"),
        *(line(data=name if name.endswith("npz") else f"{name}.npz") for name in datas),
        line(data="file"),
        line(data="array.npy"),
        *(line(more=words) for words in more),
    ]
