"""What the terminal UI costs: opening a long log, and following a run.

    python benchmarks/tui.py [--events 100000] [--seconds 30] [--json]

The real command runs in a pseudo terminal of 120 columns. Opening ends when the last generation is drawn, so a log that
is not read whole never ends it. Following is the processor time of the process over the wall time, while a process that
holds the log as a run does appends five events per second; it counts only if the last of them was drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import itertools
import json
import os
import platform
import pty
import select
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from aecompress import event_log, events

LOG = Path(__file__).parent.parent / "tests" / "fixtures" / "coevo-digits.events.jsonl"
CELLS = 10


def events_of_a_run(generations: int) -> Iterator[events.Event]:
    """What a ring of ten says, from the events of a recorded run: per generation its losses and its layers' sparsity,
    now and then what was pruned, a preview, a checkpoint."""
    said = event_log.current(event_log.read_log(LOG))
    kinds = {type(event): event for event in said}
    started = kinds[events.Started]
    assert isinstance(started, events.Started)
    yield dataclasses.replace(started, cells=CELLS, generations=generations)
    for number in itertools.count(1):
        for kind, every in (
            (events.Generation, 1),
            (events.LayerSparsity, 1),
            (events.Pruned, 4),
            (events.Preview, max(1, generations // 20)),
            (events.Checkpoint, 10),
        ):
            if number % every == 0:
                event = dataclasses.replace(kinds[kind], generation=number)  # type: ignore[call-arg, type-var]
                wide = {
                    field.name: tuple(itertools.islice(itertools.cycle(value), CELLS))
                    for field in dataclasses.fields(event)
                    if isinstance(value := getattr(event, field.name), tuple)
                    and isinstance(event, events.Generation | events.LayerSparsity)
                    and field.name != "layers"
                }
                if isinstance(event, events.Generation):
                    wide["parents"] = tuple(range(CELLS))
                    wide["train_loss"] = tuple(0.1 / (number + cell) for cell in range(1, CELLS + 1))
                    wide["validation_loss"] = tuple(0.11 / (number + cell) for cell in range(1, CELLS + 1))
                yield dataclasses.replace(event, **wide)  # type: ignore[arg-type]


class Terminal:
    """The command in a pseudo terminal."""

    def __init__(self, folder: Path) -> None:
        self.begun = time.perf_counter()
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.execve(
                sys.executable,
                [sys.executable, "-m", "aecompress", "watch", str(folder)],
                {**os.environ, "TERM": "xterm-256color"},
            )
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.drawn = b""

    def until(self, words: bytes, patience: float = 120.0) -> float:
        """Seconds since the start until ``words`` are drawn."""
        deadline = time.perf_counter() + patience
        while words not in self.drawn:
            assert time.perf_counter() < deadline, f"{words!r} was never drawn"
            self.read(0.05)
        return time.perf_counter() - self.begun

    def read(self, seconds: float) -> None:
        if select.select([self.end], [], [], seconds)[0]:
            self.drawn = self.drawn[-100_000:] + os.read(self.end, 65536)

    def processor(self) -> float:
        """Processor seconds so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def leave(self) -> None:
        os.write(self.end, b"q")
        deadline = time.perf_counter() + 20
        while time.perf_counter() < deadline:
            try:
                self.read(0.1)
            except OSError:
                break
        os.waitpid(self.pid, 0)
        os.close(self.end)


def write(folder: Path, status: str, count: int) -> int:
    """A run folder with ``count`` events; the number of the last generation."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"status": status, "host": platform.node()}))
    last = 0
    with (folder / "events.jsonl").open("w") as log:
        for event in itertools.islice(events_of_a_run(10**6), count):
            log.write(events.to_json(event) + "\n")
            last = getattr(event, "generation", last)
    return last


def opening(count: int) -> dict[str, float]:
    """Seconds to open a log of ``count`` events."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "long"
        last = write(folder, "finished", count)
        megabytes = (folder / "events.jsonl").stat().st_size / 1e6
        empty = Path(place) / "short"
        write(empty, "finished", 20)
        terminal = Terminal(empty)
        started = terminal.until(b"sparsity by layer")
        terminal.leave()
        terminal = Terminal(folder)
        opened = terminal.until(b"epoch %d/" % last)
        terminal.leave()
    return {"events": count, "megabytes": megabytes, "seconds": opened, "seconds_of_a_short_log": started}


def following(seconds: float) -> dict[str, float]:
    """Share of a core that following takes at five events per second."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "live"
        write(folder, "running", 500)
        with (folder / "events.jsonl").open("a", buffering=1) as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            terminal = Terminal(folder)
            terminal.until(b"sparsity by layer")
            said = itertools.islice(events_of_a_run(10**6), 500, None)
            warm = time.perf_counter() + 3
            last, used, begun = 0, 0.0, 0.0
            next_event = time.perf_counter()
            while not begun or time.perf_counter() - begun < seconds:
                if not begun and time.perf_counter() > warm:
                    used, begun = terminal.processor(), time.perf_counter()
                if time.perf_counter() >= next_event:
                    event = next(said)
                    last = getattr(event, "generation", last)
                    log.write(events.to_json(event) + "\n")
                    next_event += 0.2
                terminal.read(0.02)
            share = (terminal.processor() - used) / (time.perf_counter() - begun)
            terminal.until(str(last).encode(), 5)
            terminal.leave()
    return {"events_per_second": 5, "share_of_a_core": share}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = {"opening": opening(asked.events), "following": following(asked.seconds)}
    if asked.json:
        print(json.dumps(found))
    else:
        opened, followed = found["opening"], found["following"]
        print(
            f"opening {opened['events']:,} events ({opened['megabytes']:.0f} MB): {opened['seconds']:.2f} s; "
            f"a short log {opened['seconds_of_a_short_log']:.2f} s\n"
            f"following 5 events per second: {followed['share_of_a_core']:.1%} of a core"
        )
