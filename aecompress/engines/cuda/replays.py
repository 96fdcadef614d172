"""What a generation does besides training, recorded as CUDA graphs: one launch where there were sixty.

A function is called as it is the first time, recorded the second time, and replayed from then on.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Evaluation, Function
from aecompress.engines.cuda.graphs import captured
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll, no_poll

HELD = 24
"""Recordings that are held."""
STALE = 2000
"""Calls of others after which a recording makes way for a new one; before, what is new is not recorded."""
LARGEST = 1 << 24
"""Bytes of a function's tensors above which it takes longer than starting its operations does."""
HELD_BYTES = HELD * 6 * LARGEST
"""At most, of recordings: their tensors, and what they make on the way."""

Functions = Callable[..., tuple[Tensor, ...]]
"""Like :data:`aecompress.engines.base.Function`, to several tensors."""


@dataclass
class Recording:
    """A function that was called, and its recording, if it was called again."""

    used: int
    """Number of the last call."""
    kept: list[Any] = field(default_factory=list)
    """Weak references to what the function reads besides its tensors, with which the recording ends."""
    inputs: tuple[Tensor, ...] = ()
    outputs: list[Tensor] = field(default_factory=list)
    replay: Callable[[], None] | None = None

    def record(self, function: Functions, tensors: Sequence[Tensor]) -> None:
        """Record the function; on a CPU, where nothing is recorded, a replay calls it."""
        self.inputs, outputs = tuple(tensor.clone() for tensor in tensors), self.outputs
        inputs = self.inputs

        def body() -> None:
            outputs[:] = function(no_poll, *inputs)

        self.replay = captured(body, lambda: None) if inputs[0].device.type == "cuda" else body


_held: dict[Hashable, Recording] = {}
_lock = threading.Lock()
_calls = 0


def replayed(
    key: Hashable, function: Functions, poll: Poll, tensors: Sequence[Tensor], kept: Sequence[object] = ()
) -> tuple[Tensor, ...]:
    """Return ``function(poll, *tensors)``, new tensors.

    Args:
        key: of the function: those with the same do the same operations on tensors of the same shapes.
        kept: what the function reads besides them.
    """
    global _calls
    poll()
    if sum(tensor.nbytes for tensor in tensors) > LARGEST:
        return function(poll, *tensors)
    shapes = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
    whole = (key, shapes, tuple(map(id, kept)))
    with _lock:
        _calls += 1
        known = _held.get(whole)
        if known is not None:
            known.used = _calls
            return _repeated(known, function, tensors)
        if _has_place():
            ends = functools.partial(_let_go, whole)
            _held[whole] = Recording(_calls, [weakref.ref(each, ends) for each in kept])
    return function(poll, *tensors)


def _repeated(known: Recording, function: Functions, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    if known.replay is None:
        known.record(function, tensors)
    assert known.replay is not None
    for mine, given in zip(known.inputs, tensors, strict=True):
        mine.copy_(given)
    known.replay()
    return tuple(tensor.clone() for tensor in known.outputs)


def _has_place() -> bool:
    """Let go of what was not used for long; return whether there is a place then."""
    if len(_held) >= HELD:
        for key in [key for key, known in list(_held.items()) if _calls - known.used > STALE]:
            _held.pop(key, None)
    return len(_held) < HELD


def _let_go(key: Hashable, reference: object) -> None:
    _held.pop(key, None)


def compute(function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
    """Return ``function(poll, *tensors)``."""
    return replayed(function, lambda *given: (function(*given),), poll, tensors)[0]


def evaluate(
    net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll, cells: int
) -> Evaluation:
    """Compute what :func:`aecompress.engines.eager.evaluate` does, with the same bits."""

    def losses_and_zeros(poll: Poll, weights: Tensor) -> tuple[Tensor, ...]:
        found = eager.evaluate(net, weights, parts, metric, poll, cells)
        return torch.stack(found.losses), found.layer_zeros

    if not all(isinstance(part, Tensor) for part in parts):
        return eager.evaluate(net, weights, parts, metric, poll, cells)
    losses, zeros = replayed((net, metric, cells), losses_and_zeros, poll, [weights], parts)
    return Evaluation(list(losses.unbind()), zeros)


def scratch_bytes(values: int) -> int:
    """Return the bytes of recordings, at most, where individuals have so many bytes of weights together."""
    return 0 if values > LARGEST else min(HELD_BYTES, HELD * 6 * values)
