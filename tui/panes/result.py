"""The tab of the result: losses, verification, files, and where the time went."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Static

from aecompress.errors import printable
from aecompress.events import Compared, Failed, Finished, Stopped

from .. import draw, process
from ..story import Story
from .base import Key, Pane

FULL_TABLE = 100
"""Columns of a terminal that the whole before/after table needs."""
NOTICES = {
    "finished": "The run is finished: 4 shows the result.",
    "failed": "The run failed: 4 shows why.",
    "killed": "The run's process is gone; prune --resume continues from its last checkpoint.",
    "stopped": "The run stopped and can be resumed.",
    "vanished": "The run folder is gone, or holds no run.",
}
"""What an ended run's status means."""


class ResultPane(Pane):
    """How the run ended, and its files."""

    KEYS = (Key("y", "copy", "Copy path"), Key("o", "report", "Report"))
    FOCUS = "#files"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(id="outcome")
            yield Static(id="compared")
            yield DataTable(id="files", cursor_type="row", zebra_stripes=True)
            yield Static(id="profile")

    def on_mount(self) -> None:
        self.query_one(DataTable).add_columns("file", "path", "bytes")

    def show(self, story: Story, status: str) -> None:
        table = self.query_one(DataTable)
        self.query_one("#outcome", Static).update(outcome(story, status, self.folder))
        if table.row_count != len(story.saved):
            table.clear()
            for saved in story.saved.values():
                table.add_row(Text(saved.file), Text(saved.path), f"{saved.bytes:,}", key=saved.path)
        table.display = bool(story.saved)
        if story.saved and self.screen.focused is None:  # a hidden table cannot have kept the focus
            self.call_after_refresh(table.focus)
        full = self.screen.size.width >= FULL_TABLE
        self.query_one("#compared", Static).update(before_and_after(story.compared, full) if story.compared else "")
        self.query_one("#profile", Static).update(profile(story))

    def action_copy(self) -> None:
        table = self.query_one(DataTable)
        path = str(self.folder / str(table.get_row_at(table.cursor_row)[1]) if table.row_count else self.folder)
        self.app.copy_to_clipboard(path)
        self.notify(printable(path), title="copied", markup=False)

    def action_report(self) -> None:
        self.notify("writing the report", markup=False)
        self.write_report()

    @work(thread=True, exclusive=True, group="report", exit_on_error=False)
    def write_report(self) -> None:
        """Write the page of the run in a thread, then open it."""
        fault = process.report(self.folder)
        self.app.call_from_thread(self.open_report, fault)

    def open_report(self, fault: str) -> None:
        """Open the page, or show why it could not be written."""
        if fault:
            self.notify(fault, severity="error", markup=False)
        else:
            self.app.open_url((self.folder / "report.html").resolve().as_uri())


def outcome(story: Story, status: str, folder: Path) -> Table:
    """Return how the run ended, or that it has not."""
    table = Table.grid(padding=(0, 2))
    ended = story.ended
    if isinstance(ended, Finished):
        table.add_row(Text("finished", "bold"), f"after {draw.span(story.elapsed(None))}")
        table.add_row("sparsity", f"{ended.sparsity:.2%} ({ended.zeros:,} of {ended.parameters:,} are zero)")
        for split, metrics in ended.by_split.items():
            table.add_row(split, Text("  ".join(f"{name.replace('_', ' ')} {v:.5g}" for name, v in metrics.items())))
    elif isinstance(ended, Stopped | Failed):
        message = ended.reason if isinstance(ended, Stopped) else ended.message
        table.add_row(Text(ended.kind, "bold"), Text(message))
        table.add_row("resume with", Text(f"aecompress prune --resume {printable(str(folder))}"))
    else:
        notice = NOTICES.get(status, "The result comes with the last epoch.")
        table.add_row(Text(status, "bold"), Text(notice))
    if story.verified is not None:
        word = "passed" if story.verified.passed else "FAILED"
        table.add_row(
            "verified in onnxruntime",
            f"{word}: {story.verified.checks} checks, largest difference {story.verified.max_difference:.2e}",
        )
    if story.damaged:
        table.add_row("event log", f"{story.damaged} damaged line(s) skipped")
    table.add_row("folder", Text(printable(str(folder))))
    return table


def before_and_after(compared: Compared, full: bool) -> Group:
    """Return the files beside the dense model of the same shape, and why variants were kept or not.

    Where it is not ``full``, milliseconds are left out; their ratios stay, on several lines where they must.
    """
    head, *rows = compared.table()
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for index, name in enumerate(head):
        if not full and name.startswith("ms"):
            continue
        table.add_column(name, justify="right" if index else "left", no_wrap=not name.startswith("faster"))
    for row in rows:
        table.add_row(*(Text(cell) for name, cell in zip(head, row, strict=True) if full or not name.startswith("ms")))
    return Group(Text(""), table, *(Text(note, "dim") for note in compared.notes))


def profile(story: Story) -> Table:
    """Return where the time went."""
    table = Table.grid(padding=(0, 2))
    if story.profiled is not None:
        total = sum(story.profiled.seconds.values()) or 1.0
        table.add_row(Text("\nwhere the time went", "dim"))
        for phase, seconds in sorted(story.profiled.seconds.items(), key=lambda item: -item[1]):
            table.add_row(Text(phase), f"{seconds:8.2f} s", draw.bar(seconds / total, 20))
    return table
