"""An engine that keeps time."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from torch import Tensor

from aecompress.engines.base import Evaluation, Function, PairWork, Runner, Work
from aecompress.nets.layers import Trace
from aecompress.nets.rows import RowSet
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll

TRAINING, EVALUATING = "training", "evaluating"
"""The phases that an engine's time is added to."""


class Clock:
    """Seconds spent in named phases. Time that several threads spend in one phase counts once.

    ``with clock("training"): ...`` adds to ``clock.seconds["training"]``.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._inside, self._since = Counter[str](), dict[str, float]()

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time inside to ``phase``."""
        with self._lock:
            if not self._inside[phase]:
                self._since[phase] = time.perf_counter()
            self._inside[phase] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[phase] -= 1
                if not self._inside[phase]:
                    self.seconds[phase] += time.perf_counter() - self._since[phase]


@dataclass(frozen=True)
class Timed:
    """Another engine with the time of its training and evaluating added to a clock; on a GPU that of starting them."""

    engine: Runner
    clock: Callable[[str], AbstractContextManager[None]]

    @property
    def name(self) -> str:
        """Return the name of the engine beneath."""
        return self.engine.name

    def prepare(self, poll: Poll) -> None:
        """Make the engine beneath ready."""
        self.engine.prepare(poll)

    def train(self, work: Work) -> None:
        """Train and add the time."""
        with self.clock(TRAINING):
            self.engine.train(work)

    def evaluate(
        self, net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll
    ) -> Evaluation:
        """Evaluate and add the time."""
        with self.clock(EVALUATING):
            return self.engine.evaluate(net, weights, parts, metric, poll)

    def train_pairs(self, work: PairWork) -> Trace:
        """Train pairs and add the time."""
        with self.clock(TRAINING):
            return self.engine.train_pairs(work)

    def compute(self, function: Function, poll: Poll, *tensors: Tensor) -> Tensor:
        """Call the function in the way of the engine beneath."""
        return self.engine.compute(function, poll, *tensors)

    def scratch_bytes(self, parameters: int, value: int, moments: int) -> int:
        """Return the bytes of the engine beneath."""
        return self.engine.scratch_bytes(parameters, value, moments)


def timed(engine: Runner, clock: Callable[[str], AbstractContextManager[None]]) -> Runner:
    """Return the engine with its time added to ``clock``, for example a :class:`Clock`."""
    return Timed(engine, clock)
