"""The reference's images, and its command on them."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import torch_reference
from torch_reference.__main__ import main
from torch_reference.images import AntsBees, find_folder


@pytest.fixture
def drawn_folder(tmp_path: Path) -> Path:
    """Six training and four validation images: dark discs for ants, stripes for bees."""
    rows, columns = np.mgrid[:40, :48]
    disc = np.where((rows - 20) ** 2 + (columns - 24) ** 2 < 80, 20, 220)
    stripes = np.where(columns // 4 % 2, 40, 200)
    for split, count in (("train", 3), ("val", 2)):
        for name, shape in (("ants", disc), ("bees", stripes)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.repeat(shape[..., None] + index, 3, axis=2).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "optimizer", [["--momentum_form", "keras"], ["--optimizer", "adamw", "--multipliers", "fc", "1", "*", "0.1"]]
)
def test_command_fine_tunes_and_writes_its_record(
    optimizer: list[str],
    drawn_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = "--weights none --image_size 40 --batch_size 4 --epochs 3 --T_0 1 --T_mult 2 --eta_max 0.001"
    places = ["--data", str(drawn_folder), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["torch_reference", *settings.split(), *optimizer, *places])
    main()
    assert "Cycle ends" in capsys.readouterr().out
    with (tmp_path / "out" / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"] == ["ants", "bees"]
    assert summary["options"]["T_mult"] == 2.0
    ends = [(row["cycle"], row["T_i"], row["epochs"], row["first_rate"]) for row in summary["cycles"]]
    assert ends == [(0, 1.0, 1, 0.001), (1, 2.0, 3, 0.001)]
    assert summary["cycles"][1]["val_loss"] == float(history[2]["val_loss"])


def test_find_folder_looks_where_it_says(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTS_BEES_DIR", str(drawn_folder))
    assert find_folder(None) == drawn_folder
    with pytest.raises(FileNotFoundError, match=r"in two folders, train and val\. Received: data='.*ants'"):
        find_folder(drawn_folder / "train" / "ants")
    monkeypatch.delenv("ANTS_BEES_DIR")
    monkeypatch.chdir(drawn_folder)
    with pytest.raises(FileNotFoundError, match="Received: data='data/hymenoptera_data'"):
        find_folder(None)


@pytest.mark.parametrize("kind", ["truncated", "empty", "oblong", "large", "16 bits", "program"])
def test_a_bad_image_is_named(drawn_folder: Path, kind: str) -> None:
    path = drawn_folder / "val" / "bees" / "bad.png"
    images = {
        "oblong": Image.new("L", (65_000, 1)),
        "large": Image.new("1", (7_100, 7_100)),
        "16 bits": Image.fromarray(np.full((30, 30), 300, "uint16")),
    }
    images.get(kind, Image.new("RGB", (30, 30))).save(path, format="EPS" if kind == "program" else "PNG")
    if kind in ("truncated", "empty"):
        path.write_bytes(path.read_bytes()[: 60 if kind == "truncated" else 0])
    with pytest.raises(ValueError, match=rf"Each image must be whole, .* Received: '{path}': .* Remove it, or"):
        AntsBees(drawn_folder, 32, batch_size=4, seed=0, device=torch.device("cpu"))


def test_images_of_an_epoch_depend_on_seed_and_epoch_alone(drawn_folder: Path) -> None:
    def epoch(seed: int, index: int) -> Tensor:
        data = AntsBees(drawn_folder, 32, batch_size=4, seed=seed, device=torch.device("cpu"))
        before = torch.random.get_rng_state()
        images = torch.cat([images for images, labels in data.training(index)])
        assert torch.equal(torch.random.get_rng_state(), before)
        return images

    assert epoch(0, 1).shape == (6, 3, 32, 32)
    assert torch.equal(epoch(0, 1), epoch(0, 1))
    assert not torch.equal(epoch(0, 1), epoch(0, 2))
    assert not torch.equal(epoch(0, 1), epoch(1, 1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "`epochs` must be a positive integer. Received: epochs=0."),
        (["--image_size", "0"], "`image_size` must be a positive integer. Received: image_size=0."),
        (["--batch_size", "0"], "`batch_size` must be a positive integer. Received: batch_size=0."),
        (["--seed", "-1"], "`seed` must be an integer, 0 or more. Received: seed=-1."),
        (["--seed", "9999999999999"], "`seed` must be at most 4294967295. Received: seed=9999999999999."),
        (["--eta_max", "nan"], "Received: eta_min=0.0 and lr=nan in group 0."),
        (
            ["--weights", "cut.pth"],
            "The weights must be a state dict of tensors. Received: weights='cut.pth', which is not:",
        ),
        (
            ["--weights", "cut.safetensors"],
            "The weights must be a state dict of tensors. Received: weights='cut.safetensors', which is not:",
        ),
        (["--output", "file"], "File exists: 'file'"),
    ],
    ids=str,
)
def test_errors_are_one_line(
    words: list[str],
    message: str,
    drawn_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(drawn_folder.parent)
    for name in ("cut.pth", "cut.safetensors", "file"):
        Path(name).write_text("")
    settings = ["--data", str(drawn_folder), "--weights", "none", "--image_size", "32", *words]
    monkeypatch.setattr(sys, "argv", ["torch_reference", *settings])
    assert main() == 2
    printed = capsys.readouterr().err
    assert printed.startswith("torch_reference: error: ")
    assert message in printed
    assert printed.count("\n") == 1
    assert not Path("runs").exists() or not list(Path("runs").rglob("*.json"))


def test_without_pytorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torchvision" else found(name))
    with pytest.raises(ImportError, match=r"Received: no torchvision. Install torch and torchvision of one release"):
        importlib.reload(torch_reference)
