"""Operators of ONNX with weights or windows, put on views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aecompress.deploy.pretrained.building import (
    Recurrent,
    affine_of,
    convolution,
    linear,
    pool,
    pool_all,
    recurrent,
    transposed,
    upsampled,
)
from aecompress.deploy.pretrained.onnx.moves import axes_of, resize, sizes_of
from aecompress.deploy.pretrained.onnx.nodes import Array, Node, Value
from aecompress.deploy.pretrained.views import Refused, View, check_size
from aecompress.deploy.pretrained.windows import Window, same_padding

FLOAT_TYPES = (1, 10, 11, 16)
"""float32, float16, float64, bfloat16 (ONNX, TensorProto.DataType)."""


def gemm(node: Node) -> View:
    """Return alpha X W + beta B."""
    view, weight = node.view(), node.stored(1)
    if node.about.get("transA") or weight.ndim != 2 or len(view.shape) != 2:
        raise Refused("is not a product of rows with a stored matrix")
    weight = (weight.T if node.about.get("transB") else weight) * np.float32(node.about.get("alpha", 1.0))
    bias = node.constant(2)
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[1:]) * np.float32(node.about.get("beta", 1.0))
    return linear(view, node.label, weight, bias)


def matmul(node: Node) -> View:
    """Return the product of rows, or of the values at each place, with a stored matrix."""
    if not isinstance(node.given(1), np.ndarray) or not isinstance(node.given(0), View):
        raise Refused("is not a product of rows with a stored matrix")
    view, weight = node.view(), node.stored(1)
    while weight.ndim > 2 and len(weight) == 1:
        weight = weight[0]
    if weight.ndim != 2:
        raise Refused(f"has a weight of shape {weight.shape}; only matrices can be read")
    return linear(view, node.label, weight)


def windows_of(node: Node, kernel: Sequence[int], sizes: Sequence[int], transpose: bool = False) -> list[Window]:
    """Return the windows of a node on values of so many places; its automatic padding is worked out."""
    count = len(kernel)
    strides, dilations = node.about.get("strides", [1] * count), node.about.get("dilations", [1] * count)
    pads = node.about.get("pads", [0] * 2 * count)
    if not len(strides) == len(dilations) == len(sizes) == count or len(pads) != 2 * count:
        raise Refused(f"is given values of {len(sizes)} axes, its kernel has {count}; export the model again")
    if any(size < 1 for size in (*strides, *dilations, *kernel)):
        raise Refused("has a kernel, stride or dilation below 1; export the model again")
    each = zip(kernel, strides, pads[:count], pads[count:], dilations, strict=True)
    windows = [Window(*numbers) for numbers in each]
    rule = node.about.get("auto_pad", b"NOTSET")
    if rule in (b"SAME_UPPER", b"SAME_LOWER") and not transpose:
        return [same_padding(size, one, rule == b"SAME_LOWER") for size, one in zip(sizes, windows, strict=True)]
    if rule in (b"SAME_UPPER", b"SAME_LOWER"):
        return [_cut_to_same(one, rule == b"SAME_LOWER") for one in windows]
    return [one._replace(before=0, after=0) for one in windows] if rule == b"VALID" else windows


def _cut_to_same(window: Window, lower: bool) -> Window:
    """Return a transposed convolution's window that gives each value as many as its stride."""
    total = max(window.span - window.stride, 0)
    small, large = total // 2, total - total // 2
    return window._replace(before=large if lower else small, after=small if lower else large)


def conv(node: Node) -> View:
    """Return a convolution."""
    view, weight = node.view(), node.stored(1)
    windows = windows_of(node, weight.shape[2:], view.shape[2:])
    return convolution(view, node.label, weight, node.constant(2), windows, int(node.about.get("group", 1)))


def conv_transpose(node: Node) -> View:
    """Return a transposed convolution."""
    view, weight = node.view(), node.stored(1)
    windows = windows_of(node, weight.shape[2:], view.shape[2:], transpose=True)
    more = list(node.about.get("output_padding", [0] * len(windows)))
    if "output_shape" in node.about:
        each = zip(node.about["output_shape"], view.shape[2:], windows, strict=True)
        rests = [(before - 1) * window.stride + window.span - size for size, before, window in each]
        upper = node.about.get("auto_pad") == b"SAME_UPPER"
        starts = [rest // 2 if upper else rest - rest // 2 for rest in rests]
        windows = [
            window._replace(before=first, after=rest - first)
            for window, rest, first in zip(windows, rests, starts, strict=True)
        ]
        more = [0] * len(windows)
    bias = node.constant(2)
    tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
    return transposed(view, node.label, tensors, windows, int(node.about.get("group", 1)), more)


def pooled(op: str) -> Callable[[Node], View]:
    """Return what puts a pool on a view."""

    def run(node: Node) -> View:
        view = node.view()
        windows = windows_of(node, node.about["kernel_shape"], view.shape[2:])
        if node.about.get("ceil_mode"):
            windows = [_rounded_up(size, one) for size, one in zip(view.shape[2:], windows, strict=True)]
        return pool(view, node.label, op, windows, bool(node.about.get("count_include_pad")))

    return run


def _rounded_up(size: int, window: Window) -> Window:
    """Return a window padded so that its last stride counts even where it is short."""
    rest = (size + window.before + window.after - window.span) % window.stride
    return window._replace(after=window.after + window.stride - rest) if rest else window


def pooled_whole(op: str) -> Callable[[Node], View]:
    """Return what puts a pool over all places on a view ``[N, C, *places]``."""
    return lambda node: pool_all(node.view(), node.label, op, kept=True)


def reduce(op: str) -> Callable[[Node], View]:
    """Return what puts a pool over all places on a view, by a reduction over their axes."""

    def run(node: Node) -> View:
        view, kept = node.view(), bool(node.about.get("keepdims", 1))
        count = len(view.shape)
        axes = axes_of(node, 1, count) or ()
        units = [axis for axis in range(1, count) if axis not in axes]
        if len(units) != 1 or 0 in axes:
            raise Refused("reduces other axes than all places of an image or series")
        result = pool_all(view.moved(lambda index: np.moveaxis(index, units[0], 1)), node.label, op, kept=True)
        result = result.moved(lambda index: np.moveaxis(index, 1, units[0]))
        return result if kept else result.moved(lambda index: index.squeeze(axes))

    return run


def batch_normalization(node: Node) -> View:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + bias of each channel (Ioffe and Szegedy 2015)."""
    view = node.view()
    scale, bias, mean, variance = (node.stored(place).astype(np.float64) for place in range(1, 5))
    factor = scale / np.sqrt(variance + node.about.get("epsilon", 1e-5))
    shape = (1, -1, *[1] * (len(view.shape) - 2))
    return affine_of(view, node.label, factor.reshape(shape), (bias - mean * factor).reshape(shape))


def scaler(node: Node) -> View:
    """Return scikit-learn's (x - offset) * scale."""
    offset, scale = (np.asarray(node.about[name], np.float64) for name in ("offset", "scale"))
    return affine_of(node.view(), node.label, scale, -offset * scale)


def cast(node: Node) -> View:
    """Return a view as it is where it stays in floating point."""
    if node.op == "Cast" and node.about.get("to") not in FLOAT_TYPES:
        raise Refused("makes whole numbers of values; leave them in floating point")
    return node.view()


def resized(node: Node) -> View:
    """Return an image or series made larger: by its nearest values, or linearly as torch does."""
    view = node.view()
    mode = node.about.get("mode", b"nearest")
    if mode == b"nearest":
        return view.moved(lambda index: resize(index, node))
    sizes, _ = sizes_of(view.index, node)
    place = node.about.get("coordinate_transformation_mode", b"half_pixel")
    whole_times = all(size % before == 0 for size, before in zip(sizes, view.shape, strict=True))
    if mode != b"linear" or place not in (b"half_pixel", b"pytorch_half_pixel") or not whole_times:
        raise Refused(
            f"is a resize by {mode.decode()!r} and {place.decode()!r}; only whole times, by the nearest value or "
            "linearly without aligned corners, can be read"
        )
    factor = [size // before for size, before in zip(sizes, view.shape, strict=True)]
    units = 1 if factor[1] == 1 else len(factor) - 1
    if factor[0] != 1 or factor[units] != 1:
        raise Refused("resizes units or the batch")
    places = tuple(times for axis, times in enumerate(factor) if axis not in (0, units))
    result = upsampled(view.moved(lambda index: np.moveaxis(index, units, 1)), node.label, places)
    return result.moved(lambda index: np.moveaxis(index, 1, units))


ORDERS = {"LSTM": ("lstm", (0, 2, 3, 1)), "GRU": ("gru", (1, 0, 2))}
"""Ours, and where torch's gates stand among ONNX's: input, output, forget, cell; update, reset, hidden."""
DEFAULTS = {"LSTM": [b"Sigmoid", b"Tanh", b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"]}


def recurrent_of(node: Node) -> list[Value | None]:
    """Return all states of a recurrent layer and its last one, ``[L, 1, N, units]`` and ``[1, N, units]``."""
    about = node.about
    odd = [name for name in ("clip", "input_forget", "layout") if about.get(name)]
    given = [name for name, place in (("peepholes", 7), ("a length of each row", 4)) if _is_set(node, place)]
    if about.get("direction", b"forward") != b"forward":
        raise Refused("reads its rows in two directions or backwards; only forward layers can be read")
    if odd or given or [bytes(name) for name in about.get("activations", [])] not in ([], DEFAULTS[node.op]):
        raise Refused(f"has {', '.join([*odd, *given]) or 'activations of its own'}; use a plain {node.op}")
    if node.op == "GRU" and not about.get("linear_before_reset"):
        raise Refused("resets before it multiplies; use reset_after=True, or torch's GRU")
    if any(_is_set(node, place) for place in (5, 6)):
        raise Refused("starts with a state of its own; start with zeros")
    op, order = ORDERS[node.op]
    units = int(about["hidden_size"])
    weight_ih, weight_hh = (_gates(node.stored(place)[0], units, order) for place in (1, 2))
    bias = node.constant(3)
    halves = np.zeros((2, len(weight_ih))) if bias is None else bias[0].reshape(2, -1)
    tensors = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh}
    tensors |= {
        name: _gates(half, units, order) for name, half in zip(("bias_ih_l0", "bias_hh_l0"), halves, strict=True)
    }
    states = recurrent(node.view().moved(lambda index: index.transpose(1, 0, 2)), node.label, Recurrent(op, tensors))
    every = states.moved(lambda index: index.transpose(1, 0, 2)[:, None])
    return [every, every.moved(lambda index: index[-1]), None]


def _is_set(node: Node, place: int) -> bool:
    """Return whether an input is given and says something: a state of zeros says nothing, nor do full lengths."""
    value = node.given(place)
    if value is None:
        return False
    if place == 4 and isinstance(value, np.ndarray):
        return bool((value != node.view().shape[0]).any())
    return isinstance(value, View) or bool(value.any())


def _gates(weight: Array, units: int, order: Sequence[int]) -> Array:
    """Return the gates of a weight or bias in another order."""
    return check_size(np.concatenate([weight.reshape(-1, units, *weight.shape[1:])[gate] for gate in order]))


LAYERS: dict[str, Callable[[Node], View | list[Value | None]]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pooled("max-pool"),
    "AveragePool": pooled("avg-pool"),
    "GlobalAveragePool": pooled_whole("global-avg-pool"),
    "GlobalMaxPool": pooled_whole("max-pool"),
    "ReduceMean": reduce("global-avg-pool"),
    "ReduceMax": reduce("max-pool"),
    "BatchNormalization": batch_normalization,
    "Scaler": scaler,
    "Cast": cast,
    "CastLike": cast,
    "Resize": resized,
    "Upsample": resized,
    "LSTM": recurrent_of,
    "GRU": recurrent_of,
}
"""Operators on values of rows, but those that move values or are a function of each."""
HELP = {
    "LayerNormalization": "use BatchNorm, which folds into the weights",
    "InstanceNormalization": "use BatchNorm, which folds into the weights",
    "GroupNormalization": "use BatchNorm, which folds into the weights",
    "Softmax": "no activation here is a softmax; end with linear outputs or a sigmoid",
    "RNN": "use an LSTM or a GRU",
    "Attention": "only dense, convolutional and recurrent autoencoders can be read",
    "Concat": "only a chain can be read, without skip connections",
    "Loop": "export the recurrent layer as LSTM or GRU",
    "Scan": "export the recurrent layer as LSTM or GRU",
}
"""What helps where an operator cannot be read."""
