"""What each ATen operator of a chain is as steps: one row an operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aecompress.deploy.pretrained.exported.activations import clipped, gelu, leaky, named, plain_only, prelu
from aecompress.deploy.pretrained.exported.maps import (
    added,
    batch_norm,
    by_batch,
    divided,
    multiplied,
    negated,
    subtracted,
)
from aecompress.deploy.pretrained.exported.place import Place, Steps
from aecompress.deploy.pretrained.exported.products import addmm, convolution, linear, matmul, transposed
from aecompress.deploy.pretrained.exported.shapes import (
    adaptive,
    averaged,
    padded,
    pooled,
    repeated,
    reshaped,
    sliced,
    upsampled,
)
from aecompress.errors import DataError


def nothing(place: Place) -> Steps:
    """Leave values as they are."""
    return []


def impossible(why: str, cure: str, place: Place) -> Steps:
    """Refuse an operator that no layer kind computes."""
    raise place.refused(why, cure)


NO_NORM = partial(
    impossible,
    "normalises each row by its own mean and variance, which no layer kind does",
    "use torch.nn.BatchNorm1d or 2d",
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
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool1d_with_indices"), partial(pooled, "max-pool")
    ),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), partial(pooled, "avg-pool")),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), partial(adaptive, "avg-pool")),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), partial(adaptive, "max-pool")),
    "mean": averaged,
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), partial(upsampled, "nearest")),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), partial(upsampled, "linear")),
    **dict.fromkeys(
        ("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"), NO_NORM
    ),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), NO_SOFTMAX),
    **dict.fromkeys(
        ("rnn_tanh", "rnn_relu"),
        partial(impossible, "is torch.nn.RNN, which no layer kind is", "use torch.nn.GRU or LSTM"),
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
"""Operator -> what it is as steps. Those that move the batch to another axis are in walk.py, as are lstm and gru."""


def no_row(place: Place) -> DataError:
    """Return the error for an operator without a row."""
    return place.refused(
        "is no layer or activation that is known", "write this part of forward with layers of torch.nn, or leave it out"
    )
