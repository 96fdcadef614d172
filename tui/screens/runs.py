"""All runs under a folder, with the status of each."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static
from textual.worker import get_current_worker

from aecompress.errors import DataError, printable
from aecompress.events import Finished, Generation
from aecompress.files import open_own
from aecompress.printable import one_line
from aecompress.steering import sweep_of

from .. import draw
from ..reader import event_of, name_of, status
from ..story import SUMMARIES

LOOK_SECONDS = 2.0
SWEEP_BAR = 20
"""Characters of a sweep's bar."""
TAIL = 200_000
"""Bytes at the end of a log in which the last generation is looked for."""


@dataclass(frozen=True)
class Run:
    """A line of the list."""

    folder: Path
    status: str
    epoch: str
    loss: str
    sparsity: str
    age: str


def find_runs(parent: Path, now: float) -> list[Run]:
    """Return the runs under ``parent`` and one level further down, newest first."""
    found = []
    try:
        inner = sorted(entry for entry in parent.iterdir() if entry.is_dir())
    except OSError:
        return []
    for folder in [parent, *inner]:
        try:
            changed = (folder / "run.json").stat().st_mtime
            found.append((changed, Run(folder, status(folder), *last_figures(folder), _ago(now - changed))))
        except (DataError, OSError):
            continue
    return [run for _, run in sorted(found, key=lambda each: -each[0])]


def last_figures(folder: Path) -> tuple[str, str, str]:
    """Return epoch, best loss and mean sparsity at the end of the log."""
    try:
        with open_own(folder / "events.jsonl") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL))
            lines = log.read().split(b"\n")
    except OSError:
        return "", "", ""
    sparsity = None
    for line in reversed(lines):
        if not line.startswith((b'{"event": "generation"', b'{"event": "finished"')):
            continue
        try:
            event = event_of(line)
        except DataError:
            continue
        if isinstance(event, Finished):
            sparsity = event.sparsity
        if isinstance(event, Generation):
            loss = f"{event.metric} {draw.short(SUMMARIES['best'](event.validation_loss))}"
            return str(event.generation), loss, f"{event.actual if sparsity is None else sparsity:.1%}"
    return "", "", "" if sparsity is None else f"{sparsity:.1%}"


def _ago(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {name} ago"
    return f"{max(int(seconds), 0)} s ago"


def find_sweeps(parent: Path) -> str:
    """Return a line on the progress of every study at ``parent`` and one level further down."""
    try:
        inner = sorted(entry for entry in parent.iterdir() if entry.is_dir())
    except OSError:
        return ""
    lines = []
    for folder in [parent, *inner]:
        found = sweep_of(folder)
        if found is not None:
            done, total = found["finished"], found["runs"]
            failed = f", {found['failed']} failed" if found["failed"] else ""
            bar = "█" * (SWEEP_BAR * done // max(total, 1))
            line = f"{found['study']}  {bar:░<{SWEEP_BAR}}  {done} of {total} runs{failed}, {found['status']}"
            lines.append(one_line(line))
    return "\n".join(lines)


@dataclass
class Listed(Message):
    """The list was read again."""

    runs: list[Run]
    sweeps: str


class RunsScreen(Screen[None]):
    """Choose a run, or start one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", priority=False),
        Binding("n", "launch", "New run"),
    ]

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self.runs = parent
        self.listed: list[Run] = []

    def compose(self) -> ComposeResult:
        yield Static(Text.assemble(("Runs", "bold"), f" under {printable(str(self.runs))}"), id="head")
        yield Static(id="sweeps")
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Static("No runs here yet: n starts one.", id="none")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        table.add_columns("run", "status", "epoch", "best loss", "sparsity", "changed")
        table.focus()
        self.look()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def look(self) -> None:
        """Post the list again and again, in a thread."""
        worker = get_current_worker()
        while not worker.is_cancelled:
            self.post_message(Listed(find_runs(self.runs, time.time()), find_sweeps(self.runs)))
            for _ in range(int(LOOK_SECONDS / 0.1)):
                if worker.is_cancelled:
                    return
                time.sleep(0.1)

    def on_listed(self, message: Listed) -> None:
        table, sweeps = self.query_one(DataTable), self.query_one("#sweeps", Static)
        sweeps.update(Text(message.sweeps))
        sweeps.display = bool(message.sweeps)
        self.query_one("#none").display = not message.runs
        table.display = bool(message.runs)
        if message.runs == self.listed:
            return
        at = table.cursor_row
        self.listed = message.runs
        table.clear()
        for run in message.runs:
            table.add_row(Text(name_of(run.folder)), Text(run.status), run.epoch, Text(run.loss), run.sparsity, run.age)
        table.move_cursor(row=min(at, len(message.runs) - 1))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self.app.show_run(self.listed[event.cursor_row].folder)  # type: ignore[attr-defined]

    def action_open(self) -> None:
        table = self.query_one(DataTable)
        if self.listed:
            self.app.show_run(self.listed[table.cursor_row].folder)  # type: ignore[attr-defined]

    def action_launch(self) -> None:
        self.app.show_launch(self.runs)  # type: ignore[attr-defined]
