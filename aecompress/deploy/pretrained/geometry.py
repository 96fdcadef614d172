"""What a file of weights does not hold of convolutions and recurrent layers: the numbers whose shapes fit.

Rows go down to the code and come up again by the same sizes: that leaves few choices, which are then tried on rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

from aecompress.deploy.pretrained.assembled import DECODER, shapes_of
from aecompress.deploy.pretrained.steps import CONVOLUTIONS, PRODUCTS, RECURRENT, Step, groups, inputs, outputs
from aecompress.errors import DataError
from aecompress.layers.base import Shape

MOST_FOUND = 2000
MOST_YIELDED = 32
"""Of the choices that fit: those with the fewest different numbers."""
STRIDES = (2, 1, 3)
FACTORS = (2, 1, 4)

Found = tuple[tuple[Step, ...], tuple[str, ...]]


class Way(NamedTuple):
    """What has been chosen so far."""

    steps: tuple[Step, ...]
    places: Shape
    """Of the values; (): they are flat."""
    down: tuple[Shape, ...]
    """The places that each convolution of the encoder was given, and no layer has given back."""
    up: bool = False
    """Whether the code is behind."""
    numbers: tuple[tuple[int, ...], ...] = ()
    """Of each convolution, in words of numbers."""


def shaped(path: Path, steps: Sequence[Step], rows: Shape | None) -> Iterator[Found]:
    """Yield the steps with the numbers of convolutions and recurrent layers, and what is assumed with them.

    Raises:
        DataError: there are no such numbers.
    """
    if any(step.op in CONVOLUTIONS for step in steps):
        yield from _convolutions(path, steps, rows)
    elif any(step.op in RECURRENT for step in steps):
        yield from _recurrent(steps, rows)
    else:
        yield tuple(steps), ()


def _convolutions(path: Path, steps: Sequence[Step], rows: Shape | None) -> Iterator[Found]:
    first = next(step for step in steps if step.op in (*PRODUCTS, *RECURRENT))
    if rows is None or first.op not in CONVOLUTIONS:
        raise DataError(
            f"{path}: {first.name} is followed by convolutions, whose numbers the file does not hold; {GIVE}"
        )
    own, _ = shapes_of(path, first, rows, None)
    begun = Way((), own[1:], ())
    found = list(islice(_ways(list(steps), begun, own[1:]), MOST_FOUND))
    if not found:
        raise DataError(
            f"{path}: no strides and paddings that were tried give rows of shape {list(rows)} back, and the file does "
            f"not hold them; {GIVE}"
        )
    found.sort(key=lambda way: len({*way.numbers}))
    for way in found[:MOST_YIELDED]:
        words = "; ".join(
            f"{step.name} {step.op}{_words(step)}" for step in way.steps if step.op in CONVOLUTIONS or "pool" in step.op
        )
        yield (
            _pooled_last(way.steps),
            (f"its file holds no strides and paddings; of {len(found)} choices that fit: {words}",),
        )


def _pooled_last(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps with each pool after the norm and the activation of its layer, where models have them."""
    found = list(steps)
    for index in range(len(found) - 1):
        if found[index].op == "max-pool" and found[index + 1].op in ("activation", "batch-norm"):
            found[index], found[index + 1] = found[index + 1], found[index]
    return tuple(found)


GIVE = "bring the model as an ONNX file, or as a module (--model FILE.py:NAME)"


def _words(step: Step) -> str:
    return "".join(
        f" {name.replace('_', ' ')} {step.numbers[name]}"
        for name in ("stride", "padding", "output_padding")
        if step.numbers.get(name, 0) != (1 if name == "stride" else 0)
    )


def _ways(steps: list[Step], way: Way, rows: Shape) -> Iterator[Way]:
    """Yield every way to the end that gives the places of a row back."""
    if not steps:
        if way.places in (rows, ()):
            yield way
        return
    step, rest = steps[0], steps[1:]
    for next_way in _next(step, rest, way):
        yield from _ways(rest, next_way, rows)


def _next(step: Step, rest: Sequence[Step], way: Way) -> Iterator[Way]:
    """Yield what one step makes of a way."""
    if step.op not in PRODUCTS:
        yield way._replace(steps=(*way.steps, step))
    elif step.op == "linear":
        yield from _linear(step, way)
    elif not way.places:
        yield from _unflattened(step, rest, way)
    elif step.op.endswith("-transpose"):
        yield from _transposed(step, way)
    elif way.up or DECODER.search(step.name):
        yield from _upsampled(step, way)
    else:
        yield from _down(step, rest, way)


def _linear(step: Step, way: Way) -> Iterator[Way]:
    """Yield a linear layer, to which all places are given, or their means where it takes one value a channel."""
    if not way.places:
        yield way._replace(steps=(*way.steps, step))
        return
    before = next(each for each in reversed(way.steps) if each.op in CONVOLUTIONS)
    channels, count = outputs(before), math.prod(way.places)
    if channels * count == inputs(step):
        yield way._replace(steps=(*way.steps, Step(step.name, "flatten"), step), places=(), up=True)
    elif channels == inputs(step):
        pooled = (Step(step.name, "global-avg-pool"), Step(step.name, "flatten"))
        yield way._replace(steps=(*way.steps, *pooled, step), places=(), up=True)


def _unflattened(step: Step, rest: Sequence[Step], way: Way) -> Iterator[Way]:
    """Yield the convolution that is given a linear layer's values, as places of the encoder's last."""
    before = next(each for each in reversed(way.steps) if each.op == "linear")
    channels, axes = inputs(step), 2 if step.op.startswith("conv2d") else 1
    count, odd = divmod(outputs(before), channels)
    side = round(count ** (1 / axes))
    for places in dict.fromkeys((_flattened(way), (side,) * axes)):
        if not odd and len(places) == axes and math.prod(places) == count:
            shape = Step(step.name, "unflatten", numbers={"shape": (channels, *places)})
            yield from _next(step, rest, way._replace(steps=(*way.steps, shape), places=places, up=True))


def _flattened(way: Way) -> Shape:
    """Return the places that the encoder's last convolution gives."""
    places = way.down[0] if way.down else ()
    for step in way.steps:
        if step.op in CONVOLUTIONS:
            places = _after(step, places)
        elif step.op == "max-pool":
            places = tuple(size // 2 for size in places)
    return places


def _kernel(step: Step) -> Shape:
    shape: Shape = step.tensors["weight"].shape[2:]
    return shape


def _after(step: Step, places: Shape) -> Shape:
    """Return the places that a convolution gives."""
    stride, pad = int(step.numbers["stride"]), int(step.numbers["padding"])
    return tuple((size + 2 * pad - kernel) // stride + 1 for size, kernel in zip(places, _kernel(step), strict=True))


def _paddings(step: Step) -> list[int]:
    kernel = max(_kernel(step))
    return list(dict.fromkeys((kernel // 2 if kernel % 2 else kernel // 2 - 1, 0, kernel // 2)))


def _down(step: Step, rest: Sequence[Step], way: Way) -> Iterator[Way]:
    """Yield a convolution of the encoder, with a pool after its activation where one may stand there."""
    for stride, pad, pool in product(STRIDES, _paddings(step), (False, True)):
        numbered = step._replace(numbers={**step.numbers, "stride": stride, "padding": pad, "groups": groups(step)})
        places = _after(numbered, way.places)
        if pool and (stride > 1 or not _may_pool(step, rest) or min(places, default=0) < 2):
            continue
        if min(places) < 1:
            continue
        down = (*way.down, way.places)
        numbers = (*way.numbers, (stride, pad, int(pool)))
        if not pool:
            yield Way((*way.steps, numbered), places, down, way.up, numbers)
            continue
        pooled = Step(step.name, "max-pool", numbers={"kernel": 2, "stride": 2, "padding": 0})
        yield Way((*way.steps, numbered, pooled), tuple(size // 2 for size in places), down, way.up, numbers)


def _may_pool(step: Step, rest: Sequence[Step]) -> bool:
    """Return whether names leave room for an activation and a pool before the next layer."""
    after = next((each.name for each in rest if each.op in PRODUCTS), "")
    box, _, number = step.name.rpartition(".")
    other, _, last = after.rpartition(".")
    same = box == other and number.isdecimal() and last.isdecimal()
    return not same or int(last) - int(number) > 2


def _transposed(step: Step, way: Way) -> Iterator[Way]:
    """Yield a transposed convolution that gives back the places of the encoder's."""
    target, down = (way.down[-1], way.down[:-1]) if way.down else (way.places, ())
    for stride, pad in product(STRIDES, _paddings(step)):
        for extra in range(stride):
            sizes = zip(way.places, _kernel(step), strict=True)
            if tuple((size - 1) * stride - 2 * pad + kernel + extra for size, kernel in sizes) == target:
                numbers = {"stride": stride, "padding": pad, "output_padding": extra, "groups": groups(step)}
                chosen = step._replace(numbers={**step.numbers, **numbers})
                own = (*way.numbers, (stride, pad, 0))
                yield Way((*way.steps, chosen), target, down, True, own)


def _upsampled(step: Step, way: Way) -> Iterator[Way]:
    """Yield a convolution of the decoder, with an upsampling before it where places are to grow."""
    target, down = (way.down[-1], way.down[:-1]) if way.down else (way.places, ())
    for factor, pad in product(FACTORS, _paddings(step)):
        numbered = step._replace(numbers={**step.numbers, "stride": 1, "padding": pad, "groups": groups(step)})
        if _after(numbered, tuple(size * factor for size in way.places)) == target:
            grown = Step(step.name, "upsample", numbers={"factor": factor, "mode": "nearest"})
            added = (numbered,) if factor == 1 else (grown, numbered)
            yield Way((*way.steps, *added), target, down, True, (*way.numbers, (1, pad, factor)))


def _recurrent(steps: Sequence[Step], rows: Shape | None) -> Iterator[Found]:
    """Yield the chain with its code after each recurrent layer, given to all later times, and with one code a time."""
    places = [index for index, step in enumerate(steps) if step.op in RECURRENT]
    named = next((index for index, step in enumerate(steps) if DECODER.search(step.name)), None)
    last = [index for index in places if named is None or index < named]
    for code in dict.fromkeys([*last[-1:], *places]):
        later = next((index for index in places if index > code), None)
        if later is None and len(places) > 1:
            continue
        found = list[Step]()
        for index, step in enumerate(steps):
            if index == later and rows is not None:
                found.append(Step(step.name, "repeat", numbers={"times": rows[0]}))
            found.append(step._replace(numbers={"sequences": index != code}) if step.op in RECURRENT else step)
        yield tuple(found), (f"the code is taken to be the last output of {steps[code].name}",)
    yield (
        tuple(step._replace(numbers={"sequences": True}) if step.op in RECURRENT else step for step in steps),
        ("each time is taken to have a code of its own",),
    )
