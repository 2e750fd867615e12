"""ResNet-50, -101 and -152, equal to torchvision's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
from keras import layers
from keras.initializers import RandomUniform, VarianceScaling

from keras_sgdr._checks import integer, is_integer, require
from keras_sgdr.models.batch_norm import BatchNormalization
from keras_sgdr.models.convolution import Conv2D
from keras_sgdr.models.weights import download_imagenet, load_state_dict

__all__ = ["resnet"]

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
EXPANSION = 4
MOST_CLASSES = 1_000_000
# Mean and standard deviation of ImageNet's red, green and blue in [0, 1], as torchvision's weights expect.
MEAN = (0.485, 0.456, 0.406)
SD = (0.229, 0.224, 0.225)


def resnet(
    depth: int = 50,
    weights: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    classes: int = 1000,
    *,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    preprocess: bool = False,
) -> keras.Model:
    """torchvision's ResNet as a functional Keras model of built-in layers.

    The network is version 1.5 of He et al. (arXiv 1512.03385): the stride is on the 3x3 convolution of a block. Unlike
    in `keras.applications`, convolutions have no bias, BatchNorm has epsilon 1e-5 and momentum 0.9 (torch's 0.1),
    padding is torch's, and the output is logits. Without weights it is initialised from torchvision's distributions.
    Layers are named as torchvision's modules, with `_` for `.`: `layer1_0_conv1`.

    Example:

    >>> model = resnet(50, "imagenet", classes=2, preprocess=True)
    >>> model.predict(images).shape
    (8, 2)

    Args:
        depth: 50, 101 or 152.
        weights: None or `"none"` for random weights; `"imagenet"` for torchvision's published file (first version),
            downloaded into Keras's cache; a path to a `.safetensors`, `.pth` or `.pt` state dict in torchvision's
            names, or such a mapping. A head for another number of classes is newly initialised; see `load_state_dict`.
        classes: Number of logits.
        input_shape: Height, width and channels; None is any size.
        preprocess: Whether the model takes RGB in 0..255. Otherwise it takes what torchvision's model does: RGB in
            [0, 1], minus ImageNet's mean, divided by its standard deviation.

    Returns:
        A `keras.Model` from `(N, height, width, channels)` to logits `(N, classes)`.

    Raises:
        ValueError: If `depth` is none of the three, another number is out of range, or the weights do not fit.
        ConnectionError: If `weights="imagenet"` cannot be downloaded.
    """
    fix = "For other networks use keras.applications, whose models the callbacks take as well."
    require(is_integer(depth) and depth in BLOCKS, "`depth` must be 50, 101 or 152.", "depth", depth, fix)
    integer("classes", classes, "Pass the number of logits, such as classes=2.", most=MOST_CLASSES)
    several = isinstance(input_shape, Sequence) and len(input_shape) == 3 and is_integer(input_shape[2])
    rule = "`input_shape` must be `(height, width, channels)`, positive integers, None for a side of any size."
    fix = "Pass input_shape=(224, 224, 3)."
    valid = several and all(side is None or is_integer(side) for side in input_shape[:2])
    require(valid, rule, "input_shape", input_shape, fix)
    if isinstance(weights, str) and weights == "none":
        weights = None
    # Where computations are in half precision, images and logits stay in the precision of the variables.
    dtype = keras.config.dtype_policy().variable_dtype
    x = inputs = keras.Input(input_shape, name="images")
    if preprocess:
        scale = [1 / (255 * sd) for sd in SD]
        offset = [-mean / sd for mean, sd in zip(MEAN, SD, strict=True)]
        x = layers.Rescaling(scale, offset, dtype=dtype, name="preprocess")(x)
    conv_bn = partial(_conv_bn, pretrained=weights is not None)
    x = conv_bn(x, 64, 7, 2, "conv1", "bn1")
    x = layers.ReLU(name="relu")(x)
    # torch pads with minus infinity; after a ReLU zero is the same.
    x = layers.ZeroPadding2D(1, data_format="channels_last", name="maxpool_pad")(x)
    x = layers.MaxPooling2D(3, 2, data_format="channels_last", name="maxpool")(x)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(conv_bn, x, 64 * 2**stage, stride, f"layer{stage + 1}_{block}")
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="avgpool")(x)
    bound = x.shape[-1] ** -0.5
    outputs = layers.Dense(
        classes,
        kernel_initializer=RandomUniform(-bound, bound),
        bias_initializer=RandomUniform(-bound, bound),
        dtype=dtype,
        name="fc",
    )(x)
    model = keras.Model(inputs, outputs, name=f"resnet{depth}")
    if weights is not None:
        published = isinstance(weights, str) and weights == "imagenet"
        load_state_dict(model, download_imagenet(depth) if published else weights)
    return model


def _conv_bn(x: Any, filters: int, kernel: int, stride: int, conv: str, bn: str, pretrained: bool) -> Any:
    # With a stride "same" would pad by what the size of the image leaves, and not as torch does.
    if kernel > 1 and stride > 1:
        x = layers.ZeroPadding2D(kernel // 2, data_format="channels_last", name=f"{conv}_pad")(x)
    # torch's kaiming_normal_(mode="fan_out", nonlinearity="relu"), which does not truncate.
    initializer = VarianceScaling(2.0, "fan_out", "untruncated_normal")
    convolution = Conv2D(
        filters,
        kernel,
        stride,
        "same" if stride == 1 else "valid",
        use_bias=False,
        data_format="channels_last",
        # What is loaded need not be drawn before: on JAX that takes ten seconds, as each shape is compiled.
        kernel_initializer="zeros" if pretrained else initializer,
        name=conv,
    )
    x = convolution(x)
    convolution.kernel_initializer = initializer
    return BatchNormalization(axis=-1, momentum=0.9, epsilon=1e-5, name=bn)(x)


def _bottleneck(conv_bn: Callable[..., Any], x: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = x
    x = conv_bn(x, filters, 1, 1, f"{name}_conv1", f"{name}_bn1")
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = conv_bn(x, filters, 3, stride, f"{name}_conv2", f"{name}_bn2")
    x = layers.ReLU(name=f"{name}_relu2")(x)
    x = conv_bn(x, EXPANSION * filters, 1, 1, f"{name}_conv3", f"{name}_bn3")
    if stride > 1 or shortcut.shape[-1] != EXPANSION * filters:
        downsample = f"{name}_downsample_0", f"{name}_downsample_1"
        shortcut = conv_bn(shortcut, EXPANSION * filters, 1, stride, *downsample)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu3")(x)
