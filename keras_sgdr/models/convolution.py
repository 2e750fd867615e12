"""Convolution of images faster than Keras's on PyTorch and, on a processor, on JAX; saved as Keras's own layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sgdr._executions import has_accelerator

__all__ = ["Conv2D"]

LARGEST = 9  # Values of a kernel's window, 3 x 3: the patches of its input are so many times as large as it.


class Conv2D(layers.Conv2D):
    """`keras.layers.Conv2D`, with the same results to rounding, faster on PyTorch and on JAX.

    On PyTorch Keras copies images `(N, height, width, channels)` to `(N, channels, height, width)` for each
    convolution, and the copy back to where its channels are last in memory, which is what the input was at first.

    On a processor XLA has slow loops for the gradients of a convolution, and for small images. Windows of at most
    3 x 3 become one matrix product, of the patches of the images with the kernel.

    Saved it is a `keras.layers.Conv2D`, and loaded without this package; `keras.models.clone_model` keeps this one.
    """

    __module__ = "keras.layers"

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if self.groups == 1 and self.data_format == "channels_last":
            if keras.config.backend() == "torch" and self._pads_alike():
                return self._torch(inputs, kernel)
            if keras.config.backend() == "jax" and self._fits_a_product(inputs):
                return self._jax(inputs, kernel)
        return super().convolution_op(inputs, kernel)

    def _pads_alike(self) -> bool:
        """Whether both sides are padded alike: "same" does where the stride is 1 and the kernel has a middle."""
        return self.padding == "valid" or (max(self.strides) == 1 and all(size % 2 for size in self.kernel_size))

    def _torch(self, inputs: Any, kernel: Any) -> Any:
        import torch

        tensor = keras.ops.convert_to_tensor(kernel).permute(3, 2, 0, 1)
        padding = [d * (size // 2) for d, size in zip(self.dilation_rate, self.kernel_size, strict=True)]
        outputs = torch.nn.functional.conv2d(
            inputs.permute(0, 3, 1, 2),
            tensor.contiguous(memory_format=torch.channels_last),
            stride=self.strides,
            padding=padding if self.padding == "same" else 0,
            dilation=self.dilation_rate,
        )
        return outputs.permute(0, 2, 3, 1)

    def _window(self) -> list[int]:
        return [(size - 1) * d + 1 for d, size in zip(self.dilation_rate, self.kernel_size, strict=True)]

    def _fits_a_product(self, inputs: Any) -> bool:
        sides = inputs.shape[1:3]
        if not all(isinstance(side, int) for side in sides):  # In an export they may be symbols.
            return False
        # Keras has its own message where nothing comes out.
        fills = self.padding == "same" or all(np.greater_equal(sides, self._window()))
        return fills and self.kernel_size[0] * self.kernel_size[1] <= LARGEST and not has_accelerator()

    def _jax(self, inputs: Any, kernel: Any) -> Any:
        import jax

        kernel = keras.ops.convert_to_tensor(kernel)
        inputs = keras.ops.convert_to_tensor(inputs, dtype=kernel.dtype)
        sides, window = inputs.shape[1:3], self._window()
        if self.padding == "same":
            pads = jax.lax.padtype_to_pads(sides, window, self.strides, "SAME")
            inputs = jax.numpy.pad(inputs, [(0, 0), *pads, (0, 0)])
        # Each place of the window sees every `stride`-th value, to the last that leaves room for the rest of it.
        rows, columns = (
            [slice(at * d, side - (size - 1 - at) * d, stride) for at in range(size)]
            for side, size, d, stride in zip(
                inputs.shape[1:3], self.kernel_size, self.dilation_rate, self.strides, strict=True
            )
        )
        patches = [inputs[:, row, column] for row in rows for column in columns]
        return jax.numpy.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])
