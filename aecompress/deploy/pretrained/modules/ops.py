"""What each ATen operator of a chain is as steps: one row an operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.modules.place import Place
from aecompress.deploy.pretrained.steps import Step
from aecompress.errors import DataError
from aecompress.layers.base import Shape

Array = NDArray[np.float32]
Steps = list[Step]
PAD = "pad"
"""A step of zeros beside the values, which goes into the convolution after it."""


def nothing(place: Place) -> Steps:
    """Leave values as they are."""
    return []


def step(place: Place, op: str, tensors: Mapping[str, Array | None] | None = None, **numbers: Any) -> Step:
    """Return a step of a node, with the tensors that are there."""
    held = {name: tensor for name, tensor in (tensors or {}).items() if tensor is not None}
    return Step(place.name, op, held, numbers)


# products


def linear(place: Place) -> Steps:
    """Return ``x W^T + b``."""
    return [step(place, "linear", {"weight": place.constant(1), "bias": place.constant(2)})]


def matmul(place: Place) -> Steps:
    """Return the product of rows with a constant ``[in, out]``."""
    weight = place.constant(1) if place.get(0) is place.below else None
    if weight is None or weight.ndim != 2:
        raise place.refused("is a product with something else than a matrix [in, out]", "use torch.nn.Linear")
    return [step(place, "linear", {"weight": np.ascontiguousarray(weight.T)})]


def addmm(place: Place) -> Steps:
    """Return ``beta b + alpha x W``."""
    bias, weight = place.constant(0), place.constant(2)
    if weight is None or bias is None or bias.ndim != 1:
        raise place.refused("adds something else than a bias", "use torch.nn.Linear")
    alpha, beta = place.node.kwargs.get("alpha", 1), place.node.kwargs.get("beta", 1)
    weight = np.ascontiguousarray(weight.T) * np.float32(alpha)
    return [step(place, "linear", {"weight": weight, "bias": bias * np.float32(beta)})]


def convolution(op: str, place: Place) -> Steps:
    """Return a convolution; padding "same" in numbers."""
    weight = place.constant(1)
    assert weight is not None
    stride, padding, dilation = (
        several(place.get(at, name, default), weight.ndim - 2) if name != "padding" or not text_of(place) else ()
        for at, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    if text_of(place):
        padding = same(place, weight.shape[2:], dilation)
    numbers = {"stride": stride, "padding": padding, "dilation": dilation, "groups": place.get(6, "groups", 1)}
    return [step(place, op, {"weight": weight, "bias": place.constant(2, "bias")}, **numbers)]


def text_of(place: Place) -> str:
    """Return the padding of a convolution where it is a word."""
    found = place.get(4, "padding", 0)
    return found if isinstance(found, str) else ""


def same(place: Place, kernel: Shape, dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Return the zeros on each side under padding "same" or "valid".

    Raises:
        DataError: there are more on one side than on the other.
    """
    if text_of(place) == "valid":
        return (0,) * len(kernel)
    both = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if any(each % 2 for each in both):
        raise place.refused("pads one side more than the other", "use a kernel of odd size")
    return tuple(each // 2 for each in both)


def transposed(op: str, place: Place) -> Steps:
    """Return a transposed convolution."""
    weight = place.constant(1)
    assert weight is not None
    names = (("stride", 3, 1), ("padding", 4, 0), ("output_padding", 5, 0), ("dilation", 7, 1))
    numbers: dict[str, Any] = {
        name: several(place.get(at, name, default), weight.ndim - 2) for name, at, default in names
    }
    numbers["groups"] = place.get(6, "groups", 1)
    return [step(place, op, {"weight": weight, "bias": place.constant(2, "bias")}, **numbers)]


def several(value: Any, count: int) -> tuple[int, ...]:
    """Return a number for each of ``count`` axes; one number is for all."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    return tuple(map(int, found)) * count if len(found) == 1 else tuple(map(int, found))


# per unit


def batch_norm(place: Place) -> Steps:
    """Return batch norm by the statistics that were kept in training."""
    weight, bias, mean, variance = (place.constant(at) for at in range(1, 5))
    tensors = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    if place.op == "_native_batch_norm_legit_no_training":
        return [step(place, "batch-norm", tensors, eps=float(place.get(6)))]
    if place.get(5) or mean is None or variance is None:
        return by_batch(place)
    return [step(place, "batch-norm", tensors, eps=float(place.get(7)))]


def by_batch(place: Place) -> Steps:
    """Refuse a normalisation by other rows."""
    raise place.refused("normalises by the batch that it is given", "train it with track_running_stats=True")


def added(place: Place) -> Steps:
    """Return ``x + alpha c`` or ``c + alpha x``."""
    alpha = np.float32(place.node.kwargs.get("alpha", 1))
    if place.get(0) is place.below:
        return affine(place, np.float32(1), constant_of(place, 1) * alpha)
    return affine(place, alpha, constant_of(place, 0))


def subtracted(place: Place) -> Steps:
    """Return ``x - alpha c`` or ``c - alpha x``; of ``rsub`` the other way around."""
    alpha = np.float32(place.node.kwargs.get("alpha", place.get(2, default=1)))
    first = place.get(0) is place.below
    other = constant_of(place, 1 if first else 0)
    if place.op == "rsub":
        return affine(place, -alpha, other)
    return affine(place, np.float32(1), -other * alpha) if first else affine(place, -alpha, other)


def multiplied(place: Place) -> Steps:
    """Return ``x c``."""
    return affine(place, constant_of(place, 1 if place.get(0) is place.below else 0), np.float32(0))


def divided(place: Place) -> Steps:
    """Return ``x / c``."""
    if place.get(0) is not place.below or place.node.kwargs.get("rounding_mode"):
        raise place.refused("is no division by a constant", "write it with layers and activations alone")
    divisor = constant_of(place, 1)
    if not divisor.all():
        raise place.refused("divides by 0", "correct the constant")
    return affine(place, (1 / divisor.astype(np.float64)).astype(np.float32), np.float32(0))


def negated(place: Place) -> Steps:
    """Return ``-x``."""
    return affine(place, np.float32(-1), np.float32(0))


def constant_of(place: Place, at: int) -> Array:
    """Return an argument that is a number or a constant tensor."""
    found = place.constant(at)
    assert found is not None
    return found


def affine(place: Place, weight: Array | np.float32, bias: Array | np.float32) -> Steps:
    """Return ``x weight + bias`` of constants that broadcast to a row's values; nothing where it changes nothing."""
    weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
    if (weight == 1).all() and not bias.any():
        return []
    shape = place.given
    numbers: dict[str, Any] = {}
    spread = [spread_over(place, each) for each in (weight, bias)]
    if all(each.size == 1 for each in spread):
        wanted: Shape = (1,)
    elif along(spread, shape, 0):
        wanted = (shape[0],)
    elif along(spread, shape, len(shape) - 1):
        wanted, numbers = (shape[-1],), {"axis": -1}
    else:
        wanted = (math.prod(shape),)
        spread = [np.broadcast_to(each, shape) for each in spread]
    tensors = {
        name: np.array(np.broadcast_to(each.reshape(-1), wanted), np.float32)
        for name, each in zip(("weight", "bias"), spread, strict=True)
    }
    found = [step(place, "affine", tensors, **numbers)]
    if wanted == (math.prod(shape),) and len(shape) > 1 and wanted != (1,):
        return [step(place, "reshape", shape=wanted), *found, step(place, "reshape", shape=shape)]
    return found


def spread_over(place: Place, constant: Array) -> Array:
    """Return a constant with as many axes as a row has; the batch must not count in it.

    Raises:
        DataError: it has a value for each row of the batch.
    """
    axes = len(place.given) + 1
    found = constant.reshape((1,) * (axes - constant.ndim) + constant.shape)
    if found.shape[place.batch] != 1:
        raise place.refused("has a constant of each row of the batch", "use constants that are the same for all rows")
    return found.reshape(found.shape[: place.batch] + found.shape[place.batch + 1 :])


def along(constants: list[Array], shape: Shape, axis: int) -> bool:
    """Return whether constants vary along one axis of a row alone."""
    return all(
        size == 1 or (at == axis and size == shape[at])
        for constant in constants
        for at, size in enumerate(constant.shape)
    )


# activations


def named(name: str, place: Place) -> Steps:
    """Return an activation without numbers."""
    return [step(place, "activation", name=name)]


def leaky(place: Place) -> Steps:
    """Return leaky ReLU; of rrelu, which draws slopes in training, the one of evaluation."""
    if place.op == "leaky_relu":
        return named(sloped(float(place.get(1, default=0.01))), place)
    lower, upper = float(place.get(1, default=1 / 8)), float(place.get(2, default=1 / 3))
    return named(sloped((lower + upper) / 2), place)


def sloped(slope: float) -> str:
    """Return the name of leaky ReLU with a slope."""
    if slope == 0:
        return "relu"
    return "leaky-relu" if slope == 0.01 else f"leaky-relu:{slope:.9g}"


def clipped(place: Place) -> Steps:
    """Return ReLU or ReLU6, of the operators that clip values."""
    if place.op == "threshold":
        low, high = (0.0, None) if (place.get(1), place.get(2)) == (0, 0) else (None, None)
    elif place.op == "clamp_min":
        low, high = place.get(1), None
    else:
        usual = (-1.0, 1.0) if place.op == "hardtanh" else (None, None)
        low, high = place.get(1, "min", usual[0]), place.get(2, "max", usual[1])
    if low == 0 and high in (None, 6):
        return named("relu" if high is None else "relu6", place)
    raise place.refused(f"clips values to [{low}, {high}]", "use an activation such as relu, relu6 or tanh")


def plain_only(name: str, usual: dict[int, Any], place: Place) -> Steps:
    """Return an activation whose other numbers are torch's defaults."""
    for at, default in usual.items():
        if place.get(at, default=default) != default:
            raise place.refused(f"is {name} with another number than {default}", f"use torch's default, {default}")
    return named(name, place)


def gelu(place: Place) -> Steps:
    """Return exact GELU."""
    if place.node.kwargs.get("approximate", "none") != "none":
        raise place.refused("is the approximate GELU", 'use approximate="none" and train the module again')
    return named("gelu", place)


def prelu(place: Place) -> Steps:
    """Return PReLU with its slopes."""
    return [Step(place.name, "activation", {"weight": constant_of(place, 1)}, {"name": "prelu"})]


# shapes


def reshaped(place: Place) -> Steps:
    """Return a reshape of each row."""
    gives = place.gives
    if place.given == gives[: place.batch] + gives[place.batch + 1 :]:
        return []
    if place.batch != 0 or gives[0] != place.program.values[place.below].shape[0]:
        raise place.refused(
            f"makes rows of shape {list(place.given)} into {list(gives)} across the batch",
            "keep the first axis for the rows, as x.view(len(x), ...) does",
        )
    return [step(place, "reshape", shape=gives[1:])]


def sliced(place: Place) -> Steps:
    """Return nothing for a slice that takes all."""
    shape = tuple(place.program.values[place.below].shape)
    if place.gives == shape:
        return []
    raise place.refused(
        f"cuts values of shape {list(shape[1:])} to {list(place.gives[1:])}",
        "choose kernel, stride, padding and output_padding so that sizes agree",
    )


def repeated(place: Place) -> Steps:
    """Return a code that is repeated along a new axis: ``[1, C]`` to ``[T, C]``."""
    gives = place.gives[: place.batch] + place.gives[place.batch + 1 :]
    if place.op in ("stack", "cat"):
        parts = place.get(0)
        alone = isinstance(parts, list | tuple) and all(part is place.below for part in parts)
        if alone and len(gives) == 2 and gives == (len(parts), place.given[-1]):
            return [step(place, "reshape", shape=(gives[1],)), step(place, "repeat", times=gives[0])]
    if place.given == gives:
        return []
    if len(gives) == 2 and place.given in ((1, gives[1]), (gives[1],)):
        return [step(place, "reshape", shape=(gives[1],)), step(place, "repeat", times=gives[0])]
    raise place.refused(
        f"repeats values of shape {list(place.given)} as {list(gives)}",
        "repeat a code along one new axis, as z.unsqueeze(1).repeat(1, steps, 1) does, or use torch.nn.Upsample",
    )


def padded(place: Place) -> Steps:
    """Return zeros beside the values, for the convolution after it."""
    sizes = list(place.get(1))
    pairs = [tuple(sizes[at : at + 2]) for at in range(0, len(sizes), 2)][::-1]
    mode, value = (place.get(2, "mode", "constant"), place.get(3, "value", None)) if place.op == "pad" else ("constant", place.get(2, "value", 0))
    if mode != "constant" or value not in (None, 0, 0.0) or any(low != high or low < 0 for low, high in pairs):
        raise place.refused("pads with other values than 0, or one side more than the other", "use padding of a convolution")
    return [step(place, PAD, padding=tuple(low for low, _ in pairs))]


# places


def pooled(op: str, place: Place) -> Steps:
    """Return pooling over places."""
    axes = len(place.given) - 1
    kernel = several(place.get(1), axes)
    stride = several(place.get(2) or kernel, axes)
    padding = several(place.get(3, default=0), axes)
    if op == "max-pool":
        odd = set(several(place.get(4, default=1), axes)) != {1}
        ceil = bool(place.get(5, default=False))
    else:
        counted = place.get(5, default=True) or not any(padding)
        odd = not counted or place.get(6) is not None
        ceil = bool(place.get(4, default=False))
    sizes = zip(place.given[1:], kernel, stride, padding, strict=True)
    if odd or (ceil and any((size + 2 * pad - width) % jump for size, width, jump, pad in sizes)):
        raise place.refused(
            "pools with dilation, ceil_mode or uncounted padding",
            "use torch's defaults for these and train the module again",
        )
    return [step(place, op, kernel=kernel, stride=stride, padding=padding)]


def adaptive(op: str, place: Place) -> Steps:
    """Return pooling to a number of places."""
    given = place.given[1:]
    wanted = tuple(
        size if want is None else int(want) for size, want in zip(given, several_or_none(place.get(1), len(given)), strict=True)
    )
    if wanted == given:
        return []
    if op == "avg-pool" and set(wanted) == {1}:
        return [step(place, "global-avg-pool")]
    if any(size % want for size, want in zip(given, wanted, strict=True)):
        raise place.refused(
            f"pools {list(given)} places to {list(wanted)}, which are no equal parts", "choose sizes that divide"
        )
    kernel = tuple(size // want for size, want in zip(given, wanted, strict=True))
    return [step(place, op, kernel=kernel, stride=kernel, padding=(0,) * len(kernel))]


def several_or_none(value: Any, count: int) -> tuple[int | None, ...]:
    """Return a number, or None, for each of ``count`` axes."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,)
    return found * count if len(found) == 1 else found


def averaged(place: Place) -> Steps:
    """Return the mean over all places: of ``[C, L]`` and ``[C, H, W]`` over all but the first axis, of ``[T, F]`` over T."""
    axes = place.get(1)
    over = {place.axis(axis) for axis in axes} if axes else set()
    shape = place.given
    found: Steps = []
    if len(shape) == 2 and over == {0}:
        found.append(step(place, "permute", axes=(1, 0)))
    elif len(shape) < 2 or over != set(range(1, len(shape))):
        raise place.refused(f"averages over axes {axes} of rows {list(shape)}", "average over all places, as pooling does")
    gives = place.gives[: place.batch] + place.gives[place.batch + 1 :]
    return [*found, step(place, "global-avg-pool"), step(place, "reshape", shape=gives)]


def upsampled(mode: str, place: Place) -> Steps:
    """Return upsampling by a whole factor."""
    if mode == "linear" and place.get(2, "align_corners", False):
        raise place.refused("aligns corners", "use align_corners=False")
    given, gives = place.given[1:], place.gives[2:]
    if any(after % before for before, after in zip(given, gives, strict=True)):
        raise place.refused(f"makes {list(given)} places into {list(gives)}", "use whole factors")
    factor = tuple(after // before for before, after in zip(given, gives, strict=True))
    return [step(place, "upsample", factor=factor, mode=mode)]


def impossible(why: str, cure: str, place: Place) -> Steps:
    """Refuse an operator that no layer kind computes."""
    raise place.refused(why, cure)


NO_NORM = partial(
    impossible, "normalises each row by its own mean and variance, which no layer kind does", "use torch.nn.BatchNorm1d or 2d"
)
NO_SOFTMAX = partial(impossible, "mixes the values of a row, which no activation here does", "use sigmoid")

OPS: dict[str, Callable[[Place], Steps]] = {
    **dict.fromkeys(
        (
            *("clone", "alias", "detach", "contiguous", "to", "_to_copy", "type_as", "lift_fresh", "lift_fresh_copy"),
            *("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout", "normal"),
            *("broadcast_tensors", "positive"),
        ),
        nothing,
    ),
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm"), matmul),
    "addmm": addmm,
    "conv1d": partial(convolution, "conv1d"),
    "conv2d": partial(convolution, "conv2d"),
    "conv_transpose1d": partial(transposed, "conv1d-transpose"),
    "conv_transpose2d": partial(transposed, "conv2d-transpose"),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), batch_norm),
    **dict.fromkeys(("_native_batch_norm_legit", "_native_batch_norm_legit_functional"), by_batch),
    "add": added,
    **dict.fromkeys(("sub", "rsub"), subtracted),
    "mul": multiplied,
    "div": divided,
    "neg": negated,
    **{name: partial(named, name) for name in ("relu", "sigmoid", "tanh", "silu", "selu", "mish", "relu6", "softsign")},
    "hardswish": partial(named, "hard-swish"),
    **dict.fromkeys(("leaky_relu", "rrelu", "rrelu_with_noise"), leaky),
    **dict.fromkeys(("clamp", "clamp_min", "hardtanh", "threshold"), clipped),
    "elu": partial(plain_only, "elu", {1: 1, 2: 1, 3: 1}),
    "celu": partial(plain_only, "elu", {1: 1}),
    "softplus": partial(plain_only, "softplus", {1: 1, 2: 20}),
    "gelu": gelu,
    "prelu": prelu,
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"), reshaped),
    "slice": sliced,
    **dict.fromkeys(("repeat", "expand", "tile", "stack", "cat", "repeat_interleave"), repeated),
    **dict.fromkeys(("pad", "constant_pad_nd"), padded),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool1d_with_indices"), partial(pooled, "max-pool")),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), partial(pooled, "avg-pool")),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), partial(adaptive, "avg-pool")),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), partial(adaptive, "max-pool")),
    "mean": averaged,
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), partial(upsampled, "nearest")),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), partial(upsampled, "linear")),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"), NO_NORM),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), NO_SOFTMAX),
    **dict.fromkeys(
        ("rnn_tanh", "rnn_relu"), partial(impossible, "is torch.nn.RNN, which no layer kind is", "use torch.nn.GRU or LSTM")
    ),
    **dict.fromkeys(
        ("embedding",), partial(impossible, "looks up numbers of categories", "give one-hot rows to torch.nn.Linear")
    ),
    **dict.fromkeys(
        ("conv3d", "conv_transpose3d"),
        partial(impossible, "is a convolution over three axes", "use convolutions over one or two"),
    ),
    **dict.fromkeys(
        ("max_unpool1d", "max_unpool2d"),
        partial(impossible, "needs the places of the maxima", "use torch.nn.Upsample or a transposed convolution"),
    ),
}
"""Operator -> what it is as steps. ``getitem``, ``permute``, ``transpose``, ``select``, ``lstm`` and ``gru`` are in read.py: they move the batch."""


def no_row(place: Place) -> DataError:
    """Return the error for an operator without a row."""
    return place.refused(
        "is no layer or activation that is known", "write this part of forward with layers of torch.nn, or leave it out"
    )

