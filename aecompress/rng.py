"""Counter-based random draws: the same key gives the same numbers, on any device, in any order.

A draw is named by (seed, purpose, generation, cell, step). The five are folded into a 64-bit key per cell, and
element i of the draw is the i-th output of the SplitMix64 sequence started at that key (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014). Only integer arithmetic is involved until the last
conversion, so resuming, blocks of cells, shards and devices cannot drift. There is no hidden state.

Draws made on the host while data are prepared come from NumPy's Philox with a key folded the same way. They need no
torch, which is therefore imported by the first draw of tensors: data are read and checked before it.
"""

from __future__ import annotations

import hashlib
import math
import pkgutil
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Fused = Callable[[int, Tensor, int, torch.dtype], Tensor | None]
    """``(key, cells [P], size, int64 or float32)`` to words or uniform numbers ``[P, size]``, as here, or None."""

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
CACHED_WORDS = 1 << 14
"""Words of a draw that are made at once on a CPU."""
SAMPLED_WORDS = 1 << 22
"""Words that a sample is taken from at once on a CPU, so that its memory is bounded."""
FUSED: dict[str, str] = {"cuda": "aecompress.engines.cuda.available:fused_draws"}
"""By type of device: the ``Fused`` that draws in one launch, ``module:name``; imported by the first draw there."""
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


_resolved: Callable[[str], Fused] = cache(pkgutil.resolve_name)


@lru_cache(maxsize=256)
def _purpose_code(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _mix_word(z: int) -> int:
    z = ((z ^ (z >> 30)) * _MULTIPLIERS[0]) & _WORD
    z = ((z ^ (z >> 27)) * _MULTIPLIERS[1]) & _WORD
    return z ^ (z >> 31)


def _fold(*words: int) -> int:
    key = 0
    for word in words:
        key = _mix_word((key + word + _GOLDEN) & _WORD)
    return key


def _mix(z: Tensor) -> Tensor:
    """Apply the SplitMix64 finaliser to int64 words in place; ``>>`` is made logical by masking the sign bits."""
    for shift, multiplier in ((30, _MULTIPLIERS[0]), (27, _MULTIPLIERS[1])):
        high = z >> shift
        high &= (1 << (64 - shift)) - 1
        z ^= high
        z *= _signed(multiplier)
    z ^= (z >> 31) & ((1 << 33) - 1)
    return z


def bits(seed: int, purpose: str, generation: int, cells: Tensor, step: int, shape: tuple[int, ...]) -> Tensor:
    """Draw random 64-bit words.

    Args:
        seed: the run's seed.
        purpose: what the draw is for, for example ``"batches"``; each purpose is its own stream.
        generation: the generation, or 0 before the first.
        cells: int64 ``[P]`` cell indices; the result lies on their device.
        step: the step inside the generation, or 0.
        shape: shape of one cell's draw.

    Returns:
        int64 ``[P, *shape]``, all 64 bits random.
    """
    import torch

    fused = _fused(step_key(seed, purpose, generation, step), cells, shape, torch.int64)
    return _bits(_keys(seed, purpose, generation, cells, step), cells, shape) if fused is None else fused


def keys(seed: int, purpose: str, generation: int, cells: Tensor, step: int) -> Tensor:
    """Return the key of each cell's draw, int64 ``[P]``: word i of :func:`bits` is the (i + 1)-th of its sequence."""
    return _keys(seed, purpose, generation, cells, step)[:, 0]


def words(keys: Tensor, first: int, last: int) -> Tensor:
    """Return words ``first`` up to ``last`` of the draws with some :func:`keys`, int64 ``[P, last - first]``."""
    return _words(keys[:, None], slice(first, last))


def _fused(key: int, cells: Tensor, shape: tuple[int, ...], kind: torch.dtype) -> Tensor | None:
    """Draw in one launch, where the device has it."""
    fused = FUSED.get(cells.device.type)
    found = None if fused is None else _resolved(fused)(key, cells, math.prod(shape), kind)
    return None if found is None else found.view(cells.shape[0], *shape)


def _bits(keys: Tensor, cells: Tensor, shape: tuple[int, ...]) -> Tensor:
    import torch

    size = math.prod(shape)
    words = torch.empty((cells.shape[0], size), dtype=torch.int64, device=cells.device)
    for part in _parts(size, cells):
        words[:, part] = _words(keys, part)
    return words.view(cells.shape[0], *shape)


def step_key(seed: int, purpose: str, generation: int, step: int) -> int:
    """Return what keys a draw besides its cell, as an int64: arguments as in :func:`bits`."""
    return _signed(_fold(seed & _WORD, _purpose_code(purpose), generation, step))


def _keys(seed: int, purpose: str, generation: int, cells: Tensor, step: int) -> Tensor:
    return _cell_keys(step_key(seed, purpose, generation, step), cells)


def _cell_keys(key: int | Tensor, cells: Tensor) -> Tensor:
    return _mix(_mix(cells + 1) ^ key)[:, None]


def _parts(size: int, cells: Tensor) -> list[slice]:
    """Return stretches of a draw whose words stay in a core's cache; on other devices one."""
    stretch = max(CACHED_WORDS // cells.shape[0], 1) if cells.device.type == "cpu" else max(size, 1)
    return [slice(first, min(first + stretch, size)) for first in range(0, size, stretch)]


def _words(keys: Tensor, part: slice) -> Tensor:
    import torch

    counter = torch.arange(part.start + 1, part.stop + 1, device=keys.device) * _signed(_GOLDEN)
    return _mix(keys + counter)


def uniform(seed: int, purpose: str, generation: int, cells: Tensor, step: int, shape: tuple[int, ...]) -> Tensor:
    """Draw uniformly from [0, 1), float32 ``[P, *shape]``, multiples of 2**-24; arguments as in :func:`bits`."""
    import torch

    fused = _fused(step_key(seed, purpose, generation, step), cells, shape, torch.float32)
    if fused is not None:
        return fused
    keys, size = _keys(seed, purpose, generation, cells, step), math.prod(shape)
    draws = torch.empty((cells.shape[0], size), dtype=torch.float32, device=cells.device)
    for part in _parts(size, cells):
        words = _words(keys, part)
        words >>= 40
        words &= 0xFFFFFF
        draws[:, part] = words
    return draws.mul_(2.0**-24).view(cells.shape[0], *shape)


def normal(seed: int, purpose: str, generation: int, cells: Tensor, step: int, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal values, float32 ``[P, *shape]``, by inversion; arguments as in :func:`bits`.

    The uniform under the inverse lies on the odd multiples of 2**-23 in (-1, 1), so both tails stay finite.
    """
    return _standard(bits(seed, purpose, generation, cells, step, shape))


def normal_of(key: int | Tensor, cells: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw what :func:`normal` does with a :func:`step_key`, which may lie on the device, int64 ``[1]``."""
    return _standard(_bits(_cell_keys(key, cells), cells, shape))


def _standard(words: Tensor) -> Tensor:
    import torch

    odd = (words >> 40).bitwise_and_(0xFFFFFE).add_(1 - (1 << 23))
    standard: Tensor = odd.to(torch.float32).mul_(2.0**-23).erfinv_().mul_(2.0**0.5)
    return standard


def integers(
    seed: int,
    purpose: str,
    generation: int,
    cells: Tensor,
    step: int,
    shape: tuple[int, ...],
    *,
    high: int,
) -> Tensor:
    """Draw integers from [0, high), int64 ``[P, *shape]``, with replacement; arguments as in :func:`bits`."""
    words = bits(seed, purpose, generation, cells, step, shape)
    return ((words >> 1) & (_WORD >> 1)) % high


def permutation(seed: int, purpose: str, generation: int, cells: Tensor, step: int, size: int) -> Tensor:
    """Return one permutation of 0 .. size-1 per cell, int64 ``[P, size]``: the order of ``size`` random words."""
    import torch

    if cells.device.type != "cpu" or cells.shape[0] * size <= SAMPLED_WORDS:
        return torch.argsort(bits(seed, purpose, generation, cells, step, (size,)), dim=1, stable=True)
    order = torch.empty((cells.shape[0], size), dtype=torch.int64)
    for each in range(cells.shape[0]):  # what sorting takes beside its result, once
        own = bits(seed, purpose, generation, cells[each : each + 1], step, (size,))
        order[each] = torch.argsort(own[0], stable=True)
    return order


def sample(seed: int, purpose: str, generation: int, cells: Tensor, step: int, size: int, *, count: int) -> Tensor:
    """Return the first ``count`` of :func:`permutation`, int64 ``[P, count]``, without sorting the rest."""
    import torch

    together = max(SAMPLED_WORDS // cells.shape[0], count)
    if cells.device.type != "cpu" or size <= together:
        drawn = bits(seed, purpose, generation, cells, step, (size,))
        return torch.topk(drawn, count, dim=1, largest=False, sorted=True).indices
    own = keys(seed, purpose, generation, cells, step)
    lowest = places = torch.empty((cells.shape[0], 0), dtype=torch.int64)
    for first in range(0, size, together):
        last = min(first + together, size)
        drawn = torch.cat([lowest, words(own, first, last)], 1)
        there = torch.cat([places, torch.arange(first, last).expand(cells.shape[0], -1)], 1)
        lowest, among = torch.topk(drawn, min(count, drawn.shape[1]), dim=1, largest=False, sorted=True)
        places = there.gather(1, among)
    return places


def host(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return a NumPy generator on Philox, keyed by the seed, the purpose and any counters, for draws on the host."""
    key = _fold(seed & _WORD, _purpose_code(purpose), *(counter & _WORD for counter in counters))
    return np.random.Generator(np.random.Philox(key=key))
