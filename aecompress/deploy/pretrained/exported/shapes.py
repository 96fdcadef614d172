"""Shapes and places as steps: reshapes, repetition, padding, pooling, upsampling."""

from __future__ import annotations

from typing import Any

from aecompress.deploy.pretrained.exported.place import Place, Steps, several, step

PAD = "pad"
"""A step of zeros beside the values, which goes into the convolution after it."""


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
    mode, value = (
        (place.get(2, "mode", "constant"), place.get(3, "value", None))
        if place.op == "pad"
        else ("constant", place.get(2, "value", 0))
    )
    if mode != "constant" or value not in (None, 0, 0.0) or any(low != high or low < 0 for low, high in pairs):
        raise place.refused(
            "pads with other values than 0, or one side more than the other", "use padding of a convolution"
        )
    return [step(place, PAD, padding=tuple(low for low, _ in pairs))]


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
        size if want is None else int(want)
        for size, want in zip(given, several_or_none(place.get(1), len(given)), strict=True)
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
    """Return the mean over all places: over all axes of a row but the first, or over the steps of ``[T, F]``."""
    axes = place.get(1)
    over = {place.axis(axis) for axis in axes} if axes else set()
    shape = place.given
    found: Steps = []
    if len(shape) == 2 and over == {0}:
        found.append(step(place, "permute", axes=(1, 0)))
    elif len(shape) < 2 or over != set(range(1, len(shape))):
        raise place.refused(
            f"averages over axes {axes} of rows {list(shape)}", "average over all places, as pooling does"
        )
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
