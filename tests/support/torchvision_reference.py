"""Writes torchvision's ResNet-50, its logits, and `.pth` files: `python torchvision_reference.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    # Here, so that a process with TensorFlow in it can import this file.
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torchvision.models.resnet50().double()
    # Initial BatchNorm tensors are zeros and ones, which would hide a confusion of them.
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "bn" in name or "downsample.1" in name:
                if name.endswith(("weight", "running_var")):
                    tensor.uniform_(0.5, 1.5)
                elif name.endswith(("bias", "running_mean")):
                    tensor.normal_(0, 0.1)
    trace = {f"weights/{name}": tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        eval_logits = model.eval()(images)
        train_logits = model.train()(images)
    trace |= {f"updated/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    np.savez(
        folder / "resnet50.npz",
        images=images.permute(0, 2, 3, 1).numpy(),
        eval=eval_logits.numpy(),
        train=train_logits.numpy(),
        **trace,
    )
    torch.save(model.half().state_dict(), folder / "resnet50.pth")

    with torch.device("meta"):
        networks = {depth: getattr(torchvision.models, f"resnet{depth}")() for depth in (50, 101, 152)}
    shapes = {
        depth: {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        for depth, network in networks.items()
    }
    (folder / "shapes.json").write_text(json.dumps(shapes))

    base = torch.randn(4, 6)
    tensors = {
        "float32": base,
        "transposed": base.t(),
        "shared_with_offset": base[1:3, 2:5],
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "float64": torch.randn(2, 2, dtype=torch.float64),
        "float16": torch.randn(5).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "int64": torch.tensor(7),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }
    torch.save(tensors, folder / "kinds_zip.pth")
    torch.save(tensors, folder / "kinds_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": tensors}, folder / "checkpoint.pth")
    torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
    expected: dict[str, Any] = {
        name: (t.float() if name == "bfloat16" else t).detach().numpy() for name, t in tensors.items()
    }
    np.savez(folder / "kinds.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
