"""Orders to a run while it is carried out: signals, and the ``control`` file in its folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aecompress import events
from aecompress.errors import Interrupted
from aecompress.files import read_own

Stop = Callable[[], int | None]
"""Returns the number of the signal that stops the run, or None."""
CONTROL_SECONDS = 0.2
"""How often ``control`` is read."""


class Control:
    """The orders to one run: a caught signal, or the word in the ``control`` file of its folder, if it has one."""

    def __init__(self, folder: Path | None, stop: Stop, report: Callable[[events.Event], None]) -> None:
        self.path = None if folder is None else folder / "control"
        self.generation = 0
        """The last completed generation."""
        self._stop = stop
        self._report = report
        self._next = 0.0
        self._turn = threading.Lock()

    def poll(self) -> None:
        """Obey the orders; cheap enough for every batch.

        Raises:
            Interrupted: the run is to stop.
        """
        self._obey_signal()
        if time.monotonic() < self._next:
            return
        with self._turn:  # of several threads that train, one waits for all
            if time.monotonic() < self._next:
                return
            if self._order() == "pause":
                self._pause()
            if self._order() == "stop":
                raise Interrupted(f"stopped by control after epoch {self.generation}", signal.SIGTERM)
            self._next = time.monotonic() + CONTROL_SECONDS

    def _pause(self) -> None:
        """Wait until the order is no longer to pause."""
        self._report(events.Paused(at=time.time(), generation=self.generation, waiting=True))
        while self._order() == "pause":
            self._obey_signal()
            time.sleep(CONTROL_SECONDS / 2)
        self._report(events.Paused(at=time.time(), generation=self.generation, waiting=False))

    def _obey_signal(self) -> None:
        number = self._stop()
        if number is not None:
            name = signal.Signals(number).name
            raise Interrupted(f"stopped by {name} after epoch {self.generation}", number)

    def _order(self) -> str:
        if self.path is None:
            return ""
        try:
            return read_own(self.path).decode(errors="replace").strip()
        except OSError:
            return ""
