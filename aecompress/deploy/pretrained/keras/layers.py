"""Layers of Keras put on views; values are channels-last, as Keras has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from aecompress.deploy.pretrained.building import (
    Recurrent,
    affine_of,
    convolution,
    function_of,
    linear,
    pool,
    pool_all,
    recurrent,
    transposed,
    upsampled,
)
from aecompress.deploy.pretrained.keras.archive import Array, Config, shown
from aecompress.deploy.pretrained.pointwise import Pointwise
from aecompress.deploy.pretrained.views import ZERO, Refused, View, check_size, pointwise
from aecompress.deploy.pretrained.windows import Window, same_padding
from aecompress.layers.activations import activation_of, leaky_name


class KerasLayer(NamedTuple):
    """A layer with its configuration and its weights."""

    name: str
    config: Config
    weights: Sequence[Array]

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number of the configuration."""
        value = self.config.get(name)
        return default if value is None else float(value)

    def numbers(self, name: str, count: int, default: int = 1) -> tuple[int, ...]:
        """Return one whole number for each axis."""
        value = self.config.get(name)
        value = default if value is None else value
        return tuple(map(int, value)) if isinstance(value, list | tuple) else (int(value),) * count

    def taken(self, count: int) -> list[Array]:
        """Return so many weights.

        Raises:
            Refused: the file has another number for it.
        """
        if len(self.weights) != count:
            raise Refused(f"needs {count} weights, the file has {len(self.weights)}; save the model again")
        return [weight.astype(np.float64) for weight in self.weights]


ACTIVATION_NAMES = {
    **{
        name: name
        for name in ("relu", "sigmoid", "tanh", "elu", "selu", "gelu", "silu", "softplus", "softsign", "mish")
    },
    "linear": "identity",
    "swish": "silu",
    "relu6": "relu6",
    "leaky_relu": "leaky-relu:0.2",
    "hard_silu": "hard-swish",
    "hard_swish": "hard-swish",
    "hard_tanh": "hard-tanh",
}
"""Keras' names of activations, and ours."""


def activated(view: View, layer: KerasLayer, key: str = "activation") -> View:
    """Return a view with the activation that a layer's configuration names."""
    name = layer.config.get(key) or "linear"
    if not isinstance(name, str) or name not in ACTIVATION_NAMES:
        raise Refused(f"has the activation {shown(name)}, which no layer here has")
    return applied(view, layer.name, ACTIVATION_NAMES[name])


def applied(view: View, name: str, ours: str) -> View:
    """Return a view with an activation of ours."""
    return pointwise(view, Pointwise(name, activation_of(ours).value, what=ours))


def first(view: View) -> View:
    """Return a view ``[N, *places, C]`` as ``[N, C, *places]``."""
    return view.moved(lambda index: np.moveaxis(index, -1, 1))


def last(view: View) -> View:
    """Return a view ``[N, C, *places]`` as ``[N, *places, C]``."""
    return view.moved(lambda index: np.moveaxis(index, 1, -1))


def check_format(layer: KerasLayer) -> None:
    """Refuse layers that have the channels first."""
    if layer.config.get("data_format") == "channels_first":
        raise Refused("has its channels first; build it with data_format='channels_last'")


def dense(view: View, layer: KerasLayer) -> View:
    """Return a dense layer, on the last axis."""
    bias = bool(layer.config.get("use_bias", True))
    weights = layer.taken(1 + bias)
    return activated(linear(view, layer.name, weights[0], weights[1] if bias else None), layer)


def windows_of(layer: KerasLayer, kernel: Sequence[int], sizes: Sequence[int]) -> list[Window]:
    """Return the windows of a convolution or pool on values of so many places."""
    count = len(sizes)
    strides, dilations = layer.numbers("strides", count), layer.numbers("dilation_rate", count)
    padding = layer.config.get("padding", "valid")
    windows = [Window(*each) for each in zip(kernel, strides, (0,) * count, (0,) * count, dilations, strict=True)]
    if padding == "same":
        return [same_padding(size, window) for size, window in zip(sizes, windows, strict=True)]
    if padding == "causal":
        return [window._replace(before=window.span - 1) for window in windows]
    if padding != "valid":
        raise Refused(f"has padding = {shown(padding)}; use same or valid")
    return windows


def conv(view: View, layer: KerasLayer) -> View:
    """Return a convolution."""
    check_format(layer)
    bias = bool(layer.config.get("use_bias", True))
    kernel, *rest = layer.taken(1 + bias)
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    view = first(view)
    windows = windows_of(layer, weight.shape[2:], view.shape[2:])
    groups = int(layer.number("groups", 1))
    return activated(last(convolution(view, layer.name, weight, rest[0] if rest else None, windows, groups)), layer)


def depthwise(view: View, layer: KerasLayer) -> View:
    """Return a convolution of each channel alone."""
    check_format(layer)
    bias = bool(layer.config.get("use_bias", True))
    kernel, *rest = layer.taken(1 + bias)
    return activated(_each_channel(view, layer, kernel, rest[0] if rest else None), layer)


def _each_channel(view: View, layer: KerasLayer, kernel: Array, bias: Array | None) -> View:
    weight = np.moveaxis(kernel, (-2, -1), (0, 1))
    channels, times = weight.shape[:2]
    view = first(view)
    windows = windows_of(layer, weight.shape[2:], view.shape[2:])
    weight = weight.reshape(channels * times, 1, *weight.shape[2:])
    return last(convolution(view, layer.name, weight, bias, windows, channels))


def separable(view: View, layer: KerasLayer) -> View:
    """Return a convolution of each channel alone, and one over channels behind it."""
    check_format(layer)
    bias = bool(layer.config.get("use_bias", True))
    kernel, over, *rest = layer.taken(2 + bias)
    view = first(_each_channel(view, layer, kernel, None))
    weight = np.moveaxis(over, (-1, -2), (0, 1))
    windows = [Window(1)] * (over.ndim - 2)
    return activated(last(convolution(view, layer.name, weight, rest[0] if rest else None, windows)), layer)


def conv_transpose(view: View, layer: KerasLayer) -> View:
    """Return a transposed convolution: as many values as its input has times the stride, or all that it gives."""
    check_format(layer)
    if layer.config.get("output_padding") is not None:
        raise Refused("has an output_padding of its own; leave it out")
    bias = bool(layer.config.get("use_bias", True))
    kernel, *rest = layer.taken(1 + bias)
    weight, view = np.moveaxis(kernel, (-1, -2), (0, 1)), first(view)
    windows = windows_of(layer, weight.shape[2:], [1] * (kernel.ndim - 2))
    same, more = layer.config.get("padding") == "same", []
    for axis, window in enumerate(windows):
        total = max(window.span - window.stride, 0) if same else 0
        windows[axis] = window._replace(before=total // 2, after=total - total // 2)
        more.append(max(window.stride - window.span, 0))
    tensors = {"weight": weight} | ({"bias": rest[0]} if rest else {})
    return activated(last(transposed(view, layer.name, tensors, windows, 1, more)), layer)


def pooled(op: str) -> Callable[[View, KerasLayer], View]:
    """Return what puts a pool on a view."""

    def run(view: View, layer: KerasLayer) -> View:
        check_format(layer)
        view = first(view)
        sizes = view.shape[2:]
        kernel = layer.numbers("pool_size", len(sizes), 2)
        strides = layer.config.get("strides") or kernel
        plain = KerasLayer(layer.name, {**layer.config, "strides": strides}, ())
        return last(pool(view, layer.name, op, windows_of(plain, kernel, sizes), counted=False))

    return run


def pooled_whole(op: str) -> Callable[[View, KerasLayer], View]:
    """Return what puts a pool over all places on a view."""

    def run(view: View, layer: KerasLayer) -> View:
        check_format(layer)
        kept = bool(layer.config.get("keepdims"))
        result = pool_all(first(view), layer.name, op, kept)
        return last(result) if kept else result

    return run


def upsampling(view: View, layer: KerasLayer) -> View:
    """Return each value several times, or interpolated linearly."""
    check_format(layer)
    factor = layer.numbers("size", len(view.shape) - 2, 2)
    mode = layer.config.get("interpolation", "nearest")
    if mode == "bilinear":
        return last(upsampled(first(view), layer.name, factor))
    if mode != "nearest":
        raise Refused(f"interpolates by {shown(mode)}; use nearest or bilinear")
    check_size(np.broadcast_to(0, (view.index.size, math.prod(factor))))
    index = view.index
    for axis, times in enumerate(factor, 1):
        index = np.repeat(index, times, axis)
    return View(view.link, index)


def reshape(view: View, layer: KerasLayer) -> View:
    """Return values in another shape."""
    return view.moved(lambda index: index.reshape(len(index), *map(int, layer.config["target_shape"])))


def permute(view: View, layer: KerasLayer) -> View:
    """Return values with axes permuted, counted from 1."""
    return view.moved(lambda index: index.transpose(0, *map(int, layer.config["dims"])))


def repeat(view: View, layer: KerasLayer) -> View:
    """Return each row several times."""
    times = int(layer.number("n"))
    check_size(np.broadcast_to(0, (view.index.size, max(times, 0))))
    return view.moved(lambda index: np.repeat(index[:, None], times, 1))


def _ends(layer: KerasLayer, name: str) -> list[tuple[int, int]]:
    """Return how much is put before and behind each axis of places."""
    value = layer.config[name]
    pairs = [value] if isinstance(value, int) or (value and isinstance(value[0], int)) else value
    ends = [(int(each), int(each)) if isinstance(each, int) else (int(each[0]), int(each[1])) for each in pairs]
    if min(min(each) for each in ends) < 0:
        raise Refused(f"has {name} = {shown(value)}; give no negative numbers")
    return ends


def zero_padding(view: View, layer: KerasLayer) -> View:
    """Return values with zeros around them, for the layer behind it."""
    check_format(layer)
    ends = [(0, 0), *_ends(layer, "padding"), (0, 0)]
    count = math.prod(size + sum(each) for size, each in zip(view.shape, ends, strict=True))
    check_size(np.broadcast_to(0, (count,)))
    return view.moved(lambda index: np.pad(index, ends, constant_values=ZERO))


def cropping(view: View, layer: KerasLayer) -> View:
    """Return values without those at the ends."""
    check_format(layer)
    ends = [(0, 0), *_ends(layer, "cropping"), (0, 0)]
    taken = tuple(slice(first, size - last) for (first, last), size in zip(ends, view.shape, strict=True))
    return view.moved(lambda index: index[taken])


def batch_norm(view: View, layer: KerasLayer) -> View:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta, on the last axis."""
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(view.shape) - 1):
        raise Refused(f"is on the axis {shown(axis)}; only on the last one it can be read")
    scaled, shifted = (bool(layer.config.get(name, True)) for name in ("scale", "center"))
    *given, mean, variance = layer.taken(2 + scaled + shifted)
    gamma = given[0] if scaled else np.ones_like(mean)
    beta = given[-1] if shifted else np.zeros_like(mean)
    factor = gamma / np.sqrt(variance + layer.number("epsilon", 1e-3))
    return affine_of(view, layer.name, factor, beta - mean * factor)


def normalization(view: View, layer: KerasLayer) -> View:
    """Return (x - mean) / sqrt(variance)."""
    given = [layer.config.get(name) for name in ("mean", "variance")]
    if None in given:
        given = [weight.astype(np.float64) for weight in layer.weights[:2]]
    if len(given) < 2 or layer.config.get("invert"):
        raise Refused("has no mean and variance, or inverts them; adapt it before the model is saved")
    mean, variance = (np.asarray(each, np.float64) for each in given)
    spread = np.maximum(np.sqrt(variance), 1e-7)  # as Keras
    return affine_of(view, layer.name, 1 / spread, -mean / spread)


def rescaling(view: View, layer: KerasLayer) -> View:
    """Return x * scale + offset."""
    scale, offset = (np.asarray(layer.config[name], np.float64) for name in ("scale", "offset"))
    return affine_of(view, layer.name, scale, offset)


def relu(view: View, layer: KerasLayer) -> View:
    """Return a ReLU, with a slope or an upper end."""
    most, slope, least = layer.config.get("max_value"), layer.number("negative_slope"), layer.number("threshold")
    if least or (most is not None and (slope or float(most) != 6)):
        raise Refused("has a threshold, or an upper end that is not 6; use a plain ReLU or ReLU6")
    return applied(view, layer.name, "relu6" if most is not None else leaky_name(slope) if slope else "relu")


def leaky_relu(view: View, layer: KerasLayer) -> View:
    """Return a leaky ReLU; Keras 2 calls its slope alpha."""
    slope = layer.number("negative_slope", layer.number("alpha", 0.3))
    return applied(view, layer.name, leaky_name(slope))


def elu(view: View, layer: KerasLayer) -> View:
    """Return an ELU."""
    if layer.number("alpha", 1.0) != 1:
        raise Refused(f"has alpha = {layer.number('alpha'):g}, only 1 can be read")
    return applied(view, layer.name, "elu")


def prelu(view: View, layer: KerasLayer) -> View:
    """Return a PReLU, with a slope for each unit."""
    (alpha,) = layer.taken(1)
    return function_of([view, alpha], layer.name, "PReLU", lambda x, slope: np.where(x > 0, x, slope * x))


def _check_recurrent(layer: KerasLayer) -> None:
    for name, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if layer.config.get(name, wanted) != wanted:
            raise Refused(f"has {name} = {shown(layer.config[name])}, only {wanted} can be read; train it with that")
    for name in ("go_backwards", "return_state", "stateful"):
        if layer.config.get(name):
            raise Refused(f"has {name}=True; build it without")


def lstm(view: View, layer: KerasLayer) -> View:
    """Return an LSTM; its gates are in torch's order."""
    _check_recurrent(layer)
    bias = bool(layer.config.get("use_bias", True))
    kernel, own, *rest = layer.taken(2 + bias)
    tensors = {"weight_ih_l0": kernel.T, "weight_hh_l0": own.T}
    tensors["bias_ih_l0"] = rest[0] if rest else np.zeros(len(kernel.T))
    tensors["bias_hh_l0"] = np.zeros(len(kernel.T))
    return _states(view, layer, Recurrent("lstm", tensors))


def gru(view: View, layer: KerasLayer) -> View:
    """Return a GRU; its gates are update, reset, hidden, torch's reset, update, hidden."""
    _check_recurrent(layer)
    if not layer.config.get("reset_after", True):
        raise Refused("has reset_after=False; build it with reset_after=True")
    bias = bool(layer.config.get("use_bias", True))
    kernel, own, *rest = layer.taken(2 + bias)
    units = len(own)
    both = rest[0] if rest else np.zeros((2, 3 * units))
    order = np.concatenate([np.arange(units) + gate * units for gate in (1, 0, 2)])
    tensors = {"weight_ih_l0": kernel.T[order], "weight_hh_l0": own.T[order]}
    tensors |= {"bias_ih_l0": both[0][order], "bias_hh_l0": both[1][order]}
    return _states(view, layer, Recurrent("gru", tensors))


def _states(view: View, layer: KerasLayer, made: Recurrent) -> View:
    states = recurrent(view, layer.name, made)
    return states if layer.config.get("return_sequences") else states.moved(lambda index: index[:, -1])


def unchanged(view: View, layer: KerasLayer) -> View:
    """Return the view: what does something while a model is trained alone."""
    return view


def flatten(view: View, layer: KerasLayer) -> View:
    """Return the values of a row on one axis."""
    check_format(layer)
    return view.moved(lambda index: index.reshape(len(index), -1))


LAYERS: dict[str, Callable[[View, KerasLayer], Any]] = {
    "Dense": dense,
    "Conv1D": conv,
    "Conv2D": conv,
    "DepthwiseConv1D": depthwise,
    "DepthwiseConv2D": depthwise,
    "SeparableConv1D": separable,
    "SeparableConv2D": separable,
    "Conv1DTranspose": conv_transpose,
    "Conv2DTranspose": conv_transpose,
    "MaxPooling1D": pooled("max-pool"),
    "MaxPooling2D": pooled("max-pool"),
    "AveragePooling1D": pooled("avg-pool"),
    "AveragePooling2D": pooled("avg-pool"),
    "GlobalAveragePooling1D": pooled_whole("global-avg-pool"),
    "GlobalAveragePooling2D": pooled_whole("global-avg-pool"),
    "GlobalMaxPooling1D": pooled_whole("max-pool"),
    "GlobalMaxPooling2D": pooled_whole("max-pool"),
    "UpSampling1D": upsampling,
    "UpSampling2D": upsampling,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat,
    "ZeroPadding1D": zero_padding,
    "ZeroPadding2D": zero_padding,
    "Cropping1D": cropping,
    "Cropping2D": cropping,
    "BatchNormalization": batch_norm,
    "Normalization": normalization,
    "Rescaling": rescaling,
    "Activation": activated,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "PReLU": prelu,
    "LSTM": lstm,
    "GRU": gru,
    **dict.fromkeys(
        ("InputLayer", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout",
         "AlphaDropout", "ActivityRegularization", "Identity"),
        unchanged,
    ),
}  # fmt: skip
"""What puts a layer on a view, by the layer's class."""
HELP = {
    "Lambda": "holds code, which is not run",
    "Bidirectional": "reads its rows in two directions; only forward layers can be read",
    "SimpleRNN": "is no LSTM or GRU",
    "LayerNormalization": "is no layer here; use BatchNormalization, which folds into the weights",
    "Add": "adds several branches; only a chain with residual additions of two can be read",
    "Concatenate": "joins branches; only a chain can be read, without skip connections",
    "Softmax": "is no activation here; end with linear outputs or a sigmoid",
}
"""Why a layer cannot be read."""
