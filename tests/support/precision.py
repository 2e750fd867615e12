"""Float32 arithmetic in float32 on a GPU too, for the bounds that tests have."""

from __future__ import annotations

import keras

__all__ = ["use_exact_float32"]


def use_exact_float32() -> None:
    """Switch TF32 off for this process, on the backend in use.

    A GPU's matrix products and convolutions else round float32 to 10 bits, by kernels that they choose by the size of
    the batch: two predictions of one sample are then 1e-3 apart. On a CPU nothing changes.
    """
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.config.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import torch

        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
