"""The method and its training loop in PyTorch, beside which `keras_sgdr` is held."""

from importlib.util import find_spec

if missing := [name for name in ("torch", "torchvision") if find_spec(name) is None]:
    raise ImportError(
        f"`torch_reference` is written in PyTorch. Received: no {' and no '.join(missing)}. Install torch and "
        'torchvision of one release, and for `python -m torch_reference` what it reads with: pip install ".[study]".'
    )
