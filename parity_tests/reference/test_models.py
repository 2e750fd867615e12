"""The reference's ResNets, with weights from a file."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from torch_reference.models import read_state_dict, resnet


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """A state dict of torchvision's ResNet-50."""
    torch.manual_seed(1)
    return dict(torchvision.models.resnet50().state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_resnet_reads_a_state_dict_with_or_without_head(suffix: str, published: dict[str, Any], tmp_path: Path) -> None:
    state = published
    if suffix == ".safetensors":
        state = {name: value for name, value in state.items() if "fc" not in name and "num_batches" not in name}
        save_file(state, tmp_path / f"weights{suffix}")
    else:
        torch.save(state, tmp_path / f"weights{suffix}")
    model = resnet(50, str(tmp_path / f"weights{suffix}"))
    for name, value in model.state_dict().items():
        if not name.startswith("fc") and "num_batches" not in name:
            assert torch.equal(value, state[name]), name
    assert model.state_dict()["fc.weight"].shape == (2, 2048)


def test_resnet_names_the_tensors_that_do_not_fit(published: dict[str, Any], tmp_path: Path) -> None:
    state = {**published, "conv1.weight": torch.zeros(64, 3, 3, 3), "extra": torch.zeros(1)}
    del state["bn1.weight"]
    torch.save(state, tmp_path / "weights.pth")
    message = (
        "3 tensors differ: bn1.weight is missing; conv1.weight has shape (64, 3, 3, 3), not (64, 3, 7, 7); "
        "extra is not in the model."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        resnet(50, str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    "state", [{"conv1.weight": "zeros"}, {"epoch": 3, "model": {}}, [1, 2], torch.zeros(3)], ids=repr
)
def test_what_is_no_state_dict_is_refused(state: Any, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(
        ValueError, match=r"must be a state dict of tensors\. Received: weights='.*weights\.pth'\. Save"
    ):
        resnet(50, str(tmp_path / "weights.pth"))


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("new",)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(Runs())], ids=["empty", "text", "code"])
def test_a_file_of_other_content_is_named(
    suffix: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"state dict of tensors\. Received: weights='{path}', which is not: "
    ) as error:
        read_state_dict(path)
    assert error.match("Save them with torch.save")
    # PyTorch's advice is to run the code.
    assert "arbitrary code" not in str(error.value)
    assert not Path("new").exists()


def test_resnet_refuses() -> None:
    with pytest.raises(ValueError, match=r"must be 50, 101 or 152\. Received: depth=18"):
        resnet(18, "none")
    with pytest.raises(ValueError, match=r"or a .safetensors or .pth file. Received: weights='weights.h5'"):
        resnet(50, "weights.h5")
    with pytest.raises(FileNotFoundError, match=r"Received: weights='absent.pth'. Check the path"):
        resnet(50, "absent.pth")
