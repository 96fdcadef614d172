"""Packed tensors: zeros cost almost nothing in the file, and runtimes rebuild plain products when they load it.

Each tensor is stored dense, or as its non-zero values and where they are: one bit per element, or the gaps between
them in a Golomb-Rice code (Golomb 1966; Rice and Plaunt 1971), which takes 1 to 3 % more than the entropy of
random places. Values are float32 (the same bits come out), float16, int8, or codes of 1 to 8 bits into a codebook; the
last two times a float16 scale per output. :mod:`rebuild` writes the graph that decodes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from aecompress.deploy import rebuild
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain
from aecompress.deploy.forms import DENSE, Packed, decode, encode, place_bits, useful_lows
from aecompress.deploy.graph import Draft, Product, Store, gemm
from aecompress.deploy.grid import VALUES, Grid, grid_of, vector_grid

MOST_GROUPS = 3
"""Most different low bits in a file: each has operators of its own."""
GROUP_BYTES = {DENSE: 0, 0: 430}
"""About what the operators take that rebuild all tensors of the same low bits; :data:`GAP_BYTES` where above 0."""
GAP_BYTES = 920
TRIED = 6
"""Choices, the best by the estimate, of which the bytes are counted."""


def forms_of(tensor: Floats, values: str, grid: Grid | None = None) -> dict[int, Packed]:
    """Return the smallest form of ``tensor`` for each choice of low bits, as exact as ``values`` or more.

    Args:
        grid: the one that the tensor was rounded to, whatever ``values``; it may have any levels.

    A vector, which is small and weighs much in the error, keeps float16, or eight bits where they are enough, where
    less is requested.
    """
    grid = grid or grid_of(tensor, values)
    exact = VALUES[: 1 if values == "float32" and not is_half(tensor) else 2]
    kinds: list[tuple[str, Grid | None]] = [*((kind, None) for kind in exact), *([] if grid is None else [("", grid)])]
    if grid is None and (whole := vector_grid(tensor, values)) is not None:
        kinds.append(("", whole))
    found: dict[int, Packed] = {}
    sizes: dict[int, int] = {}
    for kind, levels in kinds:
        form = encode(tensor, kind, 0, levels)
        lows = useful_lows(form.places, form.size)
        for low, bits in place_bits(form.places, form.size, lows).items():
            size = form.value_bytes + -(-bits // 8)
            if size < sizes.get(low, size + 1):
                sizes[low], found[low] = size, form._replace(low=low)
    if grid is not None and not tensor.all() and not (grid.levels == 0).any():
        kinds = kinds[:-1]  # no level is zero
    dense = [encode(tensor, kind, DENSE, levels) for kind, levels in kinds]
    return {DENSE: min(dense, key=lambda form: form.bytes)} | found


def is_half(tensor: Floats) -> bool:
    """Return whether float16 has every value of a tensor."""
    with np.errstate(over="ignore"):
        return np.array_equal(tensor.astype(np.float16), tensor)


def pack(tensor: Floats, values: str, grid: Grid | None = None) -> Packed:
    """Return the smallest form of a ``tensor`` that is alone in its file; see :func:`forms_of`."""
    return smallest({"": forms_of(tensor, values, grid)})[""]


def pack_all(chain: Chain, values: str, grids: Mapping[str, Grid] | None = None) -> dict[str, Packed]:
    """Pack every tensor of a chain, by name, so that all together take the fewest bytes; see :func:`forms_of`."""
    tensors = {name: tensor for layer in chain.layers for name, tensor in layer.tensors.items()}
    return smallest({name: forms_of(tensor, values, (grids or {}).get(name)) for name, tensor in tensors.items()})


def smallest(forms: Mapping[str, Mapping[int, Packed]]) -> dict[str, Packed]:
    """Choose a form of each tensor: tensors whose gaps have the same low bits share operators."""
    sizes = {name: {low: form.bytes for low, form in each.items()} for name, each in forms.items()}
    alone = {min((low for low in each if low != DENSE), key=each.__getitem__) for each in sizes.values()}

    def least(name: str, lows: tuple[int, ...]) -> int:
        return min((low for low in (DENSE, *lows) if low in sizes[name]), key=sizes[name].__getitem__)

    def total(lows: tuple[int, ...]) -> int:
        shared = sum(GROUP_BYTES.get(low, GAP_BYTES) for low in lows)
        return shared + sum(each[least(name, lows)] for name, each in sizes.items())

    some = sorted({0} | {low + step for low in alone for step in (-1, 0, 1) if low + step >= 0})
    choices = [lows for count in range(MOST_GROUPS + 1) for lows in combinations(some, count)]
    best = {tuple(least(name, lows) for name in forms) for lows in sorted(choices, key=total)[:TRIED]}
    found = [{name: forms[name][low] for name, low in zip(forms, lows, strict=True)} for lows in sorted(best)]
    return min(found, key=rebuild.bytes_of)


def stored(forms: Mapping[str, Packed]) -> Store:
    """Store each tensor in the form it has there; the first one that is stored brings the operators of all."""

    def store(draft: Draft, name: str, tensor: Floats) -> str:
        if name not in draft.initializers and not any(name in node.output for node in draft.nodes):
            rebuild.write(draft, forms)
        return name

    return store


def about_packed(chain: Chain, values: str) -> Product:
    """Return the product of the packed tensors of ``chain``.

    Values chosen by their loss count as int8, and vectors as float16: what they take depends on their outliers.
    """
    values = "int8" if values == "smallest" else values
    forms = {}
    for layer in chain.layers:
        for name, tensor in layer.tensors.items():
            halved = tensor.ndim < 2 and values != "float32"
            forms[name] = forms_of(tensor, "float16" if halved else values)
    return gemm(stored(smallest(forms)))


def restored(chain: Chain, forms: Mapping[str, Packed]) -> Chain:
    """Return the chain that packed tensors stand for."""
    layers = []
    for layer in chain.layers:
        parts = [decode(forms[name]) for name in layer.tensors]
        weight, bias, *_ = *parts, *(layer.weight, layer.bias)[len(parts) :]
        layers.append(replace(layer, weight=weight, bias=bias))
    return replace(chain, layers=tuple(layers))
