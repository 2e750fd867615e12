"""Convolution of images without the copies that Keras makes on PyTorch, saved as Keras's own layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

__all__ = ["Conv2D"]


class Conv2D(layers.Conv2D):
    """`keras.layers.Conv2D`, with the same results, faster on PyTorch.

    For images `(N, height, width, channels)` Keras copies the input of each convolution to `(N, channels, height,
    width)`, and the copy back to where its channels are last in memory, which is what the input was at first.

    Saved it is a `keras.layers.Conv2D`, and loaded without this package; `keras.models.clone_model` keeps this one.
    """

    __module__ = "keras.layers"

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        is_torch = keras.config.backend() == "torch"
        # "same" pads both sides alike where the stride is 1 and the kernel has a middle.
        is_even = self.padding == "same" and (max(self.strides) > 1 or not all(size % 2 for size in self.kernel_size))
        if not is_torch or is_even or self.groups > 1 or self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
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
