"""torchvision's ResNets with weights from a file."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from torch_reference._checks import count, require, written

__all__ = ["read_state_dict", "resnet"]

# `fc` is made anew for every task; the counters steer only BatchNorm layers without a momentum, of which
# there are none.
_NOT_NEEDED = ("fc.", "num_batches_tracked")


def resnet(depth: int, weights: str = "imagenet", classes: int = 2) -> nn.Module:
    """torchvision's ResNet with a new last layer.

    Args:
        depth: 50, 101 or 152.
        weights: "imagenet" (torchvision's default weights, downloaded once), "none" (random), or the path of
            a `.safetensors` or `.pth` state dict in torchvision's names; its `fc`, if any, is not used.
        classes: Units of the last layer, drawn from torch's default initialisation.

    Returns:
        The model, in float32.

    Raises:
        ValueError: If the depth is unknown, `classes` is no such number, or the file does not hold these tensors.
        FileNotFoundError: If there is no such file.
    """
    valid = isinstance(depth, int) and depth in (50, 101, 152)
    require(valid, "`depth` must be 50, 101 or 152.", f"depth={written(depth)}", "Pass depth=50.")
    rule = "`weights` must be 'imagenet', 'none', or a .safetensors or .pth file."
    require(isinstance(weights, str), rule, f"weights={written(weights)}", "Pass one of these.")
    count("classes", classes, "Pass the units of the last layer, such as classes=2.", most=1_000_000)
    name = f"resnet{depth}"
    model: nn.Module = torchvision.models.get_model(name)
    if weights == "imagenet":
        state = torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True)
        _load(model, state, weights)
    elif weights != "none":
        _load(model, read_state_dict(Path(weights)), weights)
    model.fc = nn.Linear(2048, classes)
    return model


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict without executing code from the file.

    Raises:
        ValueError: If the name ends in neither `.safetensors` nor `.pth`, or the file is damaged, or holds anything but
            tensors by name.
        FileNotFoundError: If there is no such file.
    """
    rule = "`weights` must be 'imagenet', 'none', or a .safetensors or .pth file."
    require(path.suffix in (".safetensors", ".pth"), rule, f"weights={str(path)!r}", "Pass one of these.")
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be an existing file. Received: weights={str(path)!r}. Check the path.")
    rule, fix = "The weights must be a state dict of tensors.", "Save them with torch.save(model.state_dict(), path)."
    try:
        if path.suffix == ".pth":
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            from safetensors.torch import load_file

            state = load_file(path)
    except Exception as error:  # Of a damaged file, of any type.
        # Without PyTorch's advice to run the code in it.
        words = str(error).rpartition("WeightsUnpickler error: ")[2][:200]
        raise ValueError(f"{rule} Received: weights={str(path)!r}, which is not: {words} {fix}") from error
    valid = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )
    require(valid, rule, f"weights={str(path)!r}", fix)
    return dict(state)


def _load(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    expected = {name: value for name, value in model.state_dict().items() if _is_needed(name)}
    given = {name: value for name, value in state.items() if _is_needed(name)}
    wrong = [
        *(f"{name} is missing" for name in expected.keys() - given.keys()),
        *(f"{name} is not in the model" for name in given.keys() - expected.keys()),
        *(
            f"{name} has shape {tuple(given[name].shape)}, not {tuple(expected[name].shape)}"
            for name in expected.keys() & given.keys()
            if given[name].shape != expected[name].shape
        ),
    ]
    received = f"weights={source!r}, of which {len(wrong)} tensors differ: {'; '.join(sorted(wrong)[:5])}"
    fix = "Pass weights of the same depth, in torchvision's names."
    require(not wrong, "The weights must fit the model.", received, fix)
    model.load_state_dict(given, strict=False)


def _is_needed(name: str) -> bool:
    return not (name.startswith(_NOT_NEEDED[0]) or name.endswith(_NOT_NEEDED[1]))
