"""In which order the layers of a file follow each other: as they were defined, or as their shapes chain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import NoReturn

from aecompress.deploy.pretrained.assembled import DECODER
from aecompress.deploy.pretrained.named import Module, transposed
from aecompress.deploy.pretrained.steps import CONVOLUTIONS
from aecompress.errors import DataError
from aecompress.layers.base import Shape

Order = tuple[Module, ...]
MOST_ORDERS = 16
MOST_LAYERS = 200
MOST_TRIED = 20_000
"""Partial orders that are looked at: of files with more layers, names alone decide."""
ENCODER = re.compile(r"(^|[^a-z])enc(ode|oder)?([^a-z]|$)|encoder", re.IGNORECASE)
NUMBERS = re.compile(r"(\d+)")


def orders_of(path: Path, modules: Sequence[Module], defined: bool, rows: Shape | None) -> list[Order]:
    """Return the orders in which layers with weights may follow each other, the likeliest first.

    Args:
        modules: those with weights, as they stand in the file.
        defined: whether a file keeps the order in which they were defined; else its names are sorted.

    Raises:
        DataError: they do not follow each other, or of sorted names, more than one order has shapes that do.
    """
    if not modules:
        raise DataError(f"{path}: holds no linear layer and no convolution; give the weights of an autoencoder alone")
    if len(modules) > MOST_LAYERS:
        raise DataError(f"{path}: has {len(modules)} layers; give one autoencoder of at most {MOST_LAYERS}")
    ready = [variant for module in modules for variant in _variants(module)]
    listed = ready if defined else sorted(ready, key=lambda module: natural(module.name))
    if not defined:
        found = list(_whole(listed, rows))
        if len(found) > 1:
            names = [", ".join(module.name or "(unnamed)" for module in order) for order in found[:2]]
            raise DataError(
                f"{path}: its layers chain in more than one order ({names[0]}; or {names[1]}), and safetensors sorts "
                "names; save it with torch.save(model.state_dict(), 'model.pt'), which keeps the order"
            )
        return found or _longest(listed, listed, rows) or _refuse(path, listed)
    found = _longest([module for module in listed if begins(module, rows)], listed, rows)
    if found and len(found[0]) == len(modules):
        return found
    whole = list(_whole(listed, rows))
    if len(whole) == 1:
        return whole
    exact = [module for module in listed if module.step.op != "linear" or rows is None or module.takes == prod(rows)]
    found = _longest([module for module in exact if begins(module, rows)], listed, rows)
    return found or _longest(listed, listed, rows) or _refuse(path, listed)


def _variants(module: Module) -> Iterator[Module]:
    """Yield a module; a convolution also as its transpose, where its bias does not say which it is."""
    if module.step.op not in CONVOLUTIONS:
        yield module
        return
    weight, bias = module.step.tensors["weight"], module.step.tensors.get("bias")
    both = (module, module._replace(step=transposed(module.step)))
    fits = [each for each, count in zip(both, weight.shape[:2], strict=True) if bias is None or len(bias) == count]
    if DECODER.search(module.name):
        fits.reverse()
    yield from fits or both[:1]


def natural(name: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Return a key that sorts numbers in names by value, and names of a decoder after all others."""
    parts = re.split(r"([0-9]+)", name)
    numbers = [part.lstrip("0") if part.isdecimal() else "" for part in parts]
    return bool(DECODER.search(name)), [
        (part.isdecimal(), len(number), number or part) for part, number in zip(parts, numbers, strict=True)
    ]


def follows(first: Module, second: Module) -> bool:
    """Return whether a layer can be given what another gives; a linear one is given a convolution's values flat."""
    gives, takes = first.gives, second.takes
    if first.step.op in CONVOLUTIONS and second.step.op == "linear":
        return takes % gives == 0
    if first.step.op == "linear" and second.step.op in CONVOLUTIONS:
        return gives % takes == 0
    return gives == takes


def begins(module: Module, rows: Shape | None) -> bool:
    """Return whether a layer can be given rows of a shape."""
    if rows is None:
        return True
    count = prod(rows)
    if module.step.op == "linear":
        return module.takes in (count, rows[-1])
    return module.takes in (1, rows[0], rows[-1])


def _ends(first: Module, last: Module, rows: Shape | None) -> bool:
    if first.step.op == "linear" or rows is None:
        return last.gives == first.takes or (last.step.op in CONVOLUTIONS and first.takes % last.gives == 0)
    count = prod(rows)
    return last.gives in (first.takes, count)


def _longest(starts: Sequence[Module], modules: Sequence[Module], rows: Shape | None) -> list[Order]:
    """Return the longest chains of modules in their order that begin with one of ``starts`` and end with rows."""
    best = list[Order]()
    for start in starts:
        for order in _chains(modules, start, rows):
            if not best or len(order) > len(best[0]):
                best = [order]
            elif len(order) == len(best[0]) and len(best) < MOST_ORDERS:
                best.append(order)
    return best


def _chains(modules: Sequence[Module], start: Module, rows: Shape | None) -> list[Order]:
    """Return the longest chains from ``start``, at most :data:`MOST_ORDERS` to each module."""
    first = next(index for index, module in enumerate(modules) if module is start)
    longest: dict[int, list[Order]] = {first: [(start,)]}
    for index in range(first + 1, len(modules)):
        reached = [
            (*order, modules[index])
            for before, orders in longest.items()
            if modules[before].place != modules[index].place and follows(modules[before], modules[index])
            for order in orders
        ]
        most = max(map(len, reached), default=0)
        if most:
            longest[index] = [order for order in reached if len(order) == most][:MOST_ORDERS]
    return [
        order for orders in longest.values() for order in orders if len(order) > 1 and _ends(start, order[-1], rows)
    ]


def _refuse(path: Path, modules: Sequence[Module]) -> NoReturn:
    """Refuse modules that no order makes an autoencoder of.

    Raises:
        DataError: with the first two that do not follow each other.
    """
    for first, second in pairwise(modules):
        if first.place != second.place and not follows(first, second):
            raise DataError(
                f"{path}: {first.name} has {first.gives} outputs, {second.name} {second.takes} inputs; "
                "layers must follow each other"
            )
    count = len({module.place for module in modules})
    raise DataError(
        f"{path}: goes from {modules[0].takes} to {modules[-1].gives} values in {count} layer(s); "
        "an autoencoder reconstructs its inputs from a latent code"
    )


def _whole(modules: Sequence[Module], rows: Shape | None) -> Iterator[Order]:
    """Yield the orders of all modules, at most two, in which shapes chain and numbers in their names rise."""
    places = {module.place for module in modules}
    left, found = MOST_TRIED, 0
    firsts = [module for module in modules if not any(_before(other, module) for other in modules)]
    stack: list[Order] = [(module,) for module in reversed(firsts) if begins(module, rows)]
    while stack and left and found < 2:
        left -= 1
        order = stack.pop()
        if len(order) == len(places):
            if len(order) > 1 and _ends(order[0], order[-1], rows):
                found += 1
                yield order
            continue
        taken = {module.place for module in order}
        rest = [module for module in modules if module.place not in taken]
        stack += [
            (*order, module)
            for module in reversed(rest)
            if follows(order[-1], module) and not any(_before(other, module) for other in rest)
        ]


def _before(first: Module, second: Module) -> bool:
    """Return whether names say that one module stands before another."""
    if first.place == second.place:
        return False
    if DECODER.search(second.name) and ENCODER.search(first.name) and not DECODER.search(first.name):
        return True
    one, two = NUMBERS.split(first.name), NUMBERS.split(second.name)
    return one[::2] == two[::2] and natural(first.name) < natural(second.name)
