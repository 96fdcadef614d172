"""A chain of nodes as steps, with the place of the batch among the axes followed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch.fx import Node

from aecompress.deploy.pretrained.exported.activations import named
from aecompress.deploy.pretrained.exported.chain import Below, Link, between, is_zero, spelled_out
from aecompress.deploy.pretrained.exported.ops import OPS, no_row
from aecompress.deploy.pretrained.exported.place import Place, Steps, label_of, step
from aecompress.deploy.pretrained.exported.program import Program, op_of
from aecompress.deploy.pretrained.exported.residual import UnfitError, as_chain
from aecompress.deploy.pretrained.exported.shapes import PAD, reshaped
from aecompress.deploy.pretrained.steps import Step
from aecompress.errors import DataError

PERMUTES = frozenset({"permute", "transpose", "t", "movedim", "swapaxes", "mT"})
VIEWS = frozenset({"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"})
RECURRENT = frozenset({"lstm", "gru"})
NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "softplus")
"""Activations without negative values."""
WEIGHED = ("activation", "linear", "conv1d", "conv2d")
"""Of the branches of a residual block, the one with more of the first of these has the other carried beside it."""
PER_LAYER = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
LAST_AXIS = frozenset({"linear", "addmm", "matmul", "mm"})
"""Operators that work on the last axis alone."""


@dataclass
class Walk:
    """What was read so far."""

    program: Program
    steps: Steps = field(default_factory=list)
    batch: int = 0
    """The axis that counts rows."""
    last: int = 0
    """Layers of a recurrent network whose last states are the value, ``[layers, N, H]``; 0: it is something else."""
    merged: tuple[int, ...] = ()
    """Sizes of axes that were made one with the batch; empty: none."""
    positive: bool = False
    """Whether the value that it begins with is never negative."""
    ends: dict[Node, int] = field(default_factory=dict)
    """Node -> how many steps there were after it."""


def walked(program: Program, chain: Sequence[Link], links: Below) -> Walk:
    """Return the steps of a chain of nodes.

    Args:
        links: of all nodes, for the branches of sums.

    Raises:
        DataError: naming the first node that is no step.
    """
    walk = Walk(program)
    follow(walk, chain, links)
    if walk.batch or walk.merged or walk.last:
        raise place_of(walk, chain[-1]).refused(
            "does not have the rows on its first axis", "give reconstructions as [N, ...]"
        )
    return walk


def follow(walk: Walk, chain: Sequence[Link], links: Below) -> None:
    """Add the steps of a chain."""
    for link in chain:
        place = place_of(walk, link)
        if link.sides:
            take_sum(walk, place, link, links)
        else:
            take(walk, place)
        walk.ends[link.node] = len(walk.steps)


def place_of(walk: Walk, link: Link) -> Place:
    """Return a link as a place of the program."""
    return Place(program=walk.program, node=link.node, below=link.below, batch=walk.batch)


def take_sum(walk: Walk, place: Place, link: Link, links: Below) -> None:
    """Read a sum of two values that are made of one, ``body(x) + skip(x)``: a residual block."""
    cure = (
        "such a block comes in where one branch has linear layers or convolutions that keep values at their places, "
        "with ReLU or leaky ReLU, and the other at most one such layer of kernel 1; leave the addition out, or write "
        "it so, and train the module again"
    )
    why = f"adds {' and '.join(map(label_of, link.sides))}, a residual connection"
    if walk.merged or walk.last:
        raise place.refused(why, cure)
    branches = []
    for side in link.sides:
        branch = Walk(walk.program, batch=walk.batch, positive=is_positive(walk))
        follow(branch, between(links, link.below, side), links)
        if branch.batch != walk.batch or branch.merged or branch.last:
            raise place.refused(why, cure)
        branches.append(neat(walk.program, branch.steps))
    sign = float(place.node.kwargs.get("alpha", 1)) * (-1 if place.op == "sub" else 1)  # type: ignore[arg-type]
    if sign != 1:
        tensors = {"weight": np.array([sign], np.float32), "bias": np.zeros(1, np.float32)}
        branches[place.get(0) is link.sides[0]].append(Step(place.name, "affine", tensors))
    body, skip = sorted(
        branches, key=lambda steps: [sum(each.op == op for each in steps) for op in WEIGHED], reverse=True
    )
    try:
        walk.steps += as_chain(place.program.name, body, skip, is_positive(walk))
    except UnfitError as fault:
        raise place.refused(f"{why}, and {fault}", cure) from fault


def is_positive(walk: Walk) -> bool:
    """Return whether the value so far is never negative."""
    weighed = [each for each in walk.steps if each.op not in ("dropout", "identity", "reshape", "permute")]
    if not weighed:
        return walk.positive
    return weighed[-1].op == "activation" and weighed[-1].numbers["name"] in NEVER_NEGATIVE


def take(walk: Walk, place: Place) -> None:
    """Add the steps of one node."""
    op, spelled = place.op, spelled_out(place.node)
    if walk.last and op not in ("select", *VIEWS, *PERMUTES):
        raise place.refused("reads the last states of several layers", "read that of the last one, as h[-1] does")
    if walk.merged:
        take_merged(walk, place)
    elif spelled is not None:
        walk.steps += named(spelled[0], place)
    elif op == "getitem":
        take_item(walk, place)
    elif op in PERMUTES:
        take_permuted(walk, place)
    elif op == "select":
        take_selected(walk, place)
    elif op in RECURRENT:
        walk.steps += recurrent(place)
    elif op in VIEWS:
        take_view(walk, place)
    elif op in OPS:
        walk.steps += OPS[op](place)
    else:
        raise no_row(place)


def take_item(walk: Walk, place: Place) -> None:
    """Read one of several values that a node gives."""
    item, op = place.get(1), op_of(place.below)
    if op not in RECURRENT:
        if item:
            raise place.refused("reads places of maxima or another second value", "read the first value alone")
        return
    if item == 0:
        return
    if item > 1:
        raise place.refused("reads the cell state", "read the output or the hidden state")
    final_only(walk)
    layers, _, size = place.gives
    walk.batch, walk.last = 1, layers if layers > 1 else 0
    walk.steps.append(step(place, "reshape", shape=(1, size)))


def final_only(walk: Walk) -> None:
    """Make the last step, a recurrent layer, give its last state alone."""
    last = walk.steps[-1]
    walk.steps[-1] = last._replace(numbers={**last.numbers, "sequences": False})


def take_permuted(walk: Walk, place: Place) -> None:
    """Read a permutation of axes, the batch among them."""
    count = len(place.given) + 1
    order = list(range(count))
    if place.op == "permute":
        order = [axis % count for axis in place.get(1)]
    elif place.op in ("t", "mT"):
        order[-1], order[-2] = order[-2], order[-1]
    elif place.op in ("transpose", "swapaxes"):
        one, other = place.get(1) % count, place.get(2) % count
        order[one], order[other] = order[other], order[one]
    else:
        raise no_row(place)
    if walk.last:
        raise place.refused("permutes the last states of several layers", "read that of the last one, as h[-1] does")
    axes = tuple(place.axis(axis) for axis in order if axis != place.batch)
    walk.batch = order.index(place.batch)
    if axes != tuple(range(count - 1)):
        walk.steps.append(step(place, "permute", axes=axes))


def take_selected(walk: Walk, place: Place) -> None:
    """Read one place on an axis: the last state of a recurrent layer, or the only one."""
    axis, index = place.get(1), place.get(2)
    count = len(place.given) + 1
    axis %= count
    size = place.program.values[place.below].shape[axis]
    is_last = index in (-1, size - 1)
    if axis == place.batch:
        raise place.refused("takes one row of a batch", "work on each row alone")
    if walk.last and axis == 0 and is_last:
        walk.last, walk.batch = 0, 0
        walk.steps[-1] = step(place, "reshape", shape=walk.steps[-1].numbers["shape"][1:])
    elif size == 1 and not walk.last:
        take_view(walk, place)
    elif is_last and not walk.last and op_of(source_of(place.below)) in RECURRENT and place.axis(axis) == 0:
        final_only(walk)
        walk.batch = 0
    else:
        raise place.refused(f"takes place {index} of {size}", "read the last state of a recurrent layer, or all places")


def source_of(node: Node) -> Node:
    """Return the node of several values that ``node`` is one of, or itself; slices of all are looked through."""
    while op_of(node) in ("getitem", "slice", "permute", "transpose", "clone", "dropout") and node.args:
        below = node.args[0]
        assert isinstance(below, Node)
        node = below
    return node


def take_view(walk: Walk, place: Place) -> None:
    """Read another shape of the same values in the same order, from which the axis of the batch is found."""
    if walk.last:
        raise place.refused("reshapes the last states of several layers", "read that of the last one, as h[-1] does")
    before, after = tuple(place.program.values[place.below].shape), place.gives
    rows, ahead = before[place.batch], math.prod(before[: place.batch])
    found = [axis for axis in range(len(after)) if math.prod(after[:axis]) == ahead and after[axis] == rows]
    if found:
        walk.batch = found[0]
        shape = after[: found[0]] + after[found[0] + 1 :]
        if shape != place.given:
            walk.steps.append(step(place, "reshape", shape=shape))
        return
    if place.batch == 0 and len(after) > 1 and after[-1] == before[-1] and after[0] == math.prod(before[:-1]):
        walk.merged = before[1:-1]
        return
    walk.steps += reshaped(place)


def take_merged(walk: Walk, place: Place) -> None:
    """Read a node that works on the last axis of ``[N * T, F]``."""
    after = place.gives
    if place.op in VIEWS and after[1:-1] == walk.merged:
        walk.merged = ()
    elif place.op in LAST_AXIS or is_elementwise(place):
        walk.steps += OPS[place.op](place)
    else:
        raise place.refused(
            "works on rows whose places were made rows of the batch", "use layers that take [N, places, values]"
        )


def is_elementwise(place: Place) -> bool:
    """Return whether a node is an activation, or leaves values as they are."""
    probe = OPS.get(place.op)
    return probe is not None and all(found.op == "activation" for found in probe(place))


def recurrent(place: Place) -> Steps:
    """Return the layers of an LSTM or a GRU."""
    node, x = place.node, place.get(0)
    layers, bidirectional, batch_first = place.get(4), place.get(7), place.get(8)
    given, has_biases = place.get(2), place.get(3)
    per_layer = 4 if has_biases else 2
    cure = "use torch.nn.LSTM or GRU of one direction without projection"
    if x is not place.below or not isinstance(given, Sequence):
        raise place.refused("reads packed sequences", "give rows of one length")
    if bidirectional or len(given) != layers * per_layer:
        raise place.refused("has two directions or a projection", cure)
    if (0 if batch_first else 1) != place.batch:
        raise place.refused(
            "takes the rows of a batch as steps in time", "set batch_first=True, and give rows [N, steps, values]"
        )
    states = place.get(1) if isinstance(place.get(1), Sequence) else [place.get(1)]
    if not all(is_zero(place.program, state) for state in states):
        raise place.refused("begins with states that are not 0", "let it begin with torch's default, 0")
    steps = []
    for layer in range(layers):
        tensors = {
            name: place.array(tensor)
            for name, tensor in zip(PER_LAYER, given[layer * per_layer : (layer + 1) * per_layer], strict=False)
        }
        name = place.name if layers == 1 else f"{place.name}.l{layer}"
        steps.append(Step(name, op_of(node), tensors, {"sequences": True}))
    return steps


def neat(program: Program, steps: Steps) -> Steps:
    """Return steps with zeros beside values put into the convolution after them, and runs of reshapes as one.

    Raises:
        DataError: what follows such zeros is no convolution.
    """
    found: Steps = []
    pending: Step | None = None
    for each in steps:
        if each.op == PAD:
            pending = each
            continue
        if pending is not None:
            each = with_padding(program, pending, each)
            pending = None
        if each.op == "reshape" and found and found[-1].op == "reshape":
            found.pop()
        found.append(each)
    if pending is not None:
        raise DataError(f"{program.name}: {pending.name} pads its output; use padding of a convolution")
    return found


def with_padding(program: Program, pad: Step, conv: Step) -> Step:
    """Return a convolution that also pads what ``pad`` does."""
    sizes: Any = pad.numbers["padding"]
    if conv.op not in ("conv1d", "conv2d") or len(sizes) > len(conv.numbers["padding"]):
        raise DataError(f"{program.name}: {pad.name} pads values before {conv.name}; use padding of a convolution")
    own = conv.numbers["padding"]
    added = (0,) * (len(own) - len(sizes)) + tuple(sizes)
    return conv._replace(numbers={**conv.numbers, "padding": tuple(map(sum, zip(own, added, strict=True)))})
