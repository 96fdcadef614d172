"""Activations of ATen as steps."""

from __future__ import annotations

from typing import Any

from aecompress.deploy.pretrained.exported.maps import constant_of
from aecompress.deploy.pretrained.exported.place import Place, Steps, step
from aecompress.deploy.pretrained.steps import Step
from aecompress.errors import SpecError
from aecompress.layers.activations import check_activation

CLIPS: dict[tuple[float | None, float | None], str] = {(0, None): "relu", (0, 6): "relu6", (-1, 1): "hard-tanh"}
"""Activations by the bounds that they keep values between."""


def named(name: str, place: Place) -> Steps:
    """Return an activation of our table.

    Raises:
        DataError: the table does not have it.
    """
    try:
        check_activation(place.name, name)
    except SpecError as fault:
        choices = str(fault).rpartition("; ")[2]
        raise place.refused(f"is the activation {name}, which no layer here has", choices) from fault
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
    """Return ReLU, ReLU6 or hard tanh, of the operators that clip values."""
    if place.op == "threshold":
        low, high = (0.0, None) if (place.get(1), place.get(2)) == (0, 0) else (None, None)
    elif place.op == "clamp_min":
        low, high = place.get(1), None
    else:
        usual = (-1.0, 1.0) if place.op == "hardtanh" else (None, None)
        low, high = place.get(1, "min", usual[0]), place.get(2, "max", usual[1])
    name = CLIPS.get((low, high))
    if name is None:
        raise place.refused(f"clips values to [{low}, {high}]", "use an activation such as relu, relu6 or tanh")
    return named(name, place)


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
