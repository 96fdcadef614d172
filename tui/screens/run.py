"""One run: the ring and its curves, pictures, the front, the result. Follows the event log, and steers the run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane
from textual.worker import get_current_worker

from aecompress.errors import AecompressError
from aecompress.events import Failed, Finished, Front, Stopped
from aecompress.steering import order

from .. import draw, process
from ..follow import Batch, follow
from ..story import SUMMARIES, Story, tell
from ..widgets import (
    Chart,
    Frame,
    Head,
    Layers,
    Pictures,
    Ring,
    Rows,
    Scatter,
    Told,
    loss_lines,
    schedule_lines,
    sparsity_lines,
)
from .dialogs import Cell, Confirm

PAINT_SECONDS = 1.25
"""Between two drawings of the screen, however fast the run tells."""
CHARTS = ("loss", "sparsity", "schedule")
HOMES = {
    "colour": "run",
    "view": "run",
    "chart": "run",
    "shades": "pictures",
    "copy": "result",
    "report": "result",
}
"""The part on which a key has a meaning; the others have it everywhere."""
VIEWS = (*SUMMARIES, "cell")


@dataclass
class Grew(Message):
    """The follower found something."""

    batch: Batch


class RunScreen(Screen[None]):
    """Everything about one run folder."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('run')", "Run", show=False),
        Binding("2", "tab('pictures')", "Pictures", show=False),
        Binding("3", "tab('front')", "Front", show=False),
        Binding("4", "tab('result')", "Result", show=False),
        Binding("l", "colour", "Colour"),
        Binding("v", "view", "View"),
        Binding("c", "chart", "Chart"),
        Binding("p", "pause", "Pause"),
        Binding("s", "stop", "Stop"),
        Binding("y", "copy", "Copy path"),
        Binding("o", "report", "Report"),
        Binding("b", "shades", "Blocks/shades"),
        Binding("escape", "back", "Runs"),
    ]
    status: reactive[str] = reactive("opening")
    view: reactive[str] = reactive("best", init=False)
    chart: reactive[str] = reactive("loss", init=False)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.story = Story()
        self.front_shown: Front | None = None
        self.shades = False
        self.stale = True
        self.behind = False

    def compose(self) -> ComposeResult:
        yield Head(id="head")
        with TabbedContent(initial="run"):
            with TabPane("1 Run", id="run"):
                with Horizontal(id="now"):
                    with Vertical(id="side"):
                        with VerticalScroll(id="around", can_focus=False):
                            yield Ring(id="ring")
                        yield Layers(id="layers")
                    with Container(id="charts"):
                        for name in CHARTS:
                            yield Chart(id=f"chart-{name}", classes="chart")
                yield Told()
            with TabPane("2 Pictures", id="pictures"), Frame(id="previews"):
                yield Pictures(id="blocks")
                yield Vertical(id="curves")
            with TabPane("3 Front", id="front"), Horizontal():
                yield Scatter(id="scatter")
                with Vertical(id="pairs"):
                    yield DataTable(id="pairs-table", cursor_type="row", zebra_stripes=True)
                    yield Static(id="pair")
            with TabPane("4 Result", id="result"), VerticalScroll():
                yield Static(id="outcome")
                yield Static(id="compared")
                yield DataTable(id="files", cursor_type="row", zebra_stripes=True)
                yield Static(id="profile")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#pairs-table", DataTable).add_columns("cell", "non-zeros", "loss")
        self.query_one("#files", DataTable).add_columns("file", "path", "bytes")
        self.query_one(Ring).focus()
        self.action_chart(0)
        self.follow_log()
        self.set_interval(PAINT_SECONDS, self.paint)
        self.paint_head()

    def on_screen_resume(self) -> None:
        self.paint()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def follow_log(self) -> None:
        worker = get_current_worker()
        for batch in follow(self.folder, lambda: worker.is_cancelled):
            self.post_message(Grew(batch))

    def on_grew(self, message: Grew) -> None:
        batch = message.batch
        if batch.restarted:
            self.story = Story()
            told = self.query_one(Told)
            told.clear()
            told.count = 0
        had = self.story.latest is not None
        tell(self.story, batch.events)
        self.story.damaged += batch.damaged
        self.status = "paused" if self.story.paused and batch.status == "running" else batch.status
        first = not batch.behind and (self.behind or not had)
        self.stale, self.behind = True, batch.behind
        if first:  # what was waited for is shown at once
            self.paint()

    def watch_status(self, old: str, new: str) -> None:
        self.paint_head()
        self.refresh_bindings()
        if old not in ("opening", new) and new in ("finished", "failed", "killed", "vanished", "stopped"):
            bad = new in ("failed", "killed", "vanished")
            self.notify(WORDS[new], title=escape(self.folder.name), severity="error" if bad else "information")

    # Painting: only what is seen, at most twice a second.

    def paint_head(self) -> None:
        if self.is_mounted:
            now = time.time() if self.status == "running" else None
            self.query_one(Head).show(self.folder.resolve().name, self.status, self.story, now)

    def paint(self) -> None:
        if not self.is_current:
            return
        self.paint_head()
        if not self.stale:
            return
        self.stale = False
        painters = {
            "run": self.paint_run,
            "pictures": self.paint_pictures,
            "front": self.paint_front,
            "result": self.paint_result,
        }
        painters[self.query_one(TabbedContent).active]()

    def paint_run(self) -> None:
        story, ring = self.story, self.query_one(Ring)
        ring.best, ring.generation = story.best, story.latest
        if not ring.touched:
            ring.cell = story.best
        self.query_one(Layers).show(story.layers, ring.cell)
        self.query_one(Told).show(story, lambda at: time.strftime("%H:%M:%S", time.localtime(at)))
        self.paint_charts()

    def paint_charts(self) -> None:
        story, cell = self.story, self.query_one(Ring).cell
        name = f"cell {cell}" if self.view == "cell" else self.view
        metric = story.latest.metric if story.latest else "loss"
        by_target = story.started is not None and story.started.spec["prune"]["drive"] == "target"
        drawn = {
            "loss": (f"{metric}, {name}", loss_lines(self.view, cell), True),
            "sparsity": ("zeros", sparsity_lines(self.view, cell), False),
            "schedule": ("schedule: asked and reached", schedule_lines(by_target), False),
        }
        for chart in CHARTS:
            widget = self.query_one(f"#chart-{chart}", Chart)
            if widget.display:
                widget.draw(*drawn[chart][:2], story.generations, drawn[chart][2])

    def paint_pictures(self) -> None:
        story = self.story
        shape = story.started.row_shape if story.started else ()
        metric = story.latest.metric if story.latest else "loss"
        images = story.preview is None or draw.image_shape(shape) is not None
        blocks, curves = self.query_one(Pictures), self.query_one("#curves")
        blocks.display, curves.display = images, not images
        if images:
            few = self.app.console.color_system in (None, "standard")
            blocks.show(story.preview, shape, metric, not (few or self.shades), self.query_one("#previews").size)
        elif story.preview is not None:
            curves.mount_all(Rows() for _ in range(len(self.query(Rows)), len(story.preview.rows)))
            for number, widget in enumerate(self.query(Rows)):
                widget.display = number < len(story.preview.rows)  # a run begun anew may show fewer
                if widget.display:
                    widget.draw(story.preview, number, metric)

    def paint_front(self) -> None:
        story, table = self.story, self.query_one("#pairs-table", DataTable)
        front, latest = story.front, story.latest
        if front is None:
            self.front_shown = None
            table.clear()
            losses = latest.validation_loss if latest else ()
            zeros = [100 * share for share in latest.sparsity] if latest else []
            title = (
                f"cells of generation {latest.generation}; the front comes at the end"
                if latest
                else "no generation yet"
            )
            labels = ("zeros, %", latest.metric if latest else "loss")
            self.query_one(Scatter).draw(title, zeros, losses, -1, labels, False)
            self.query_one("#pair", Static).update("The front of the run comes with its last generation.")
            return
        if front is not self.front_shown:
            self.front_shown = front
            table.clear()
            for cell, loss, count in zip(front.cells, front.losses, front.nonzeros, strict=True):
                table.add_row("made" if cell < 0 else str(cell), f"{count:,}", f"{loss:.6g}")
        self.paint_pair()

    def paint_pair(self) -> None:
        front, latest = self.story.front, self.story.latest
        if front is None or not front.cells:
            return
        row = min(max(self.query_one("#pairs-table", DataTable).cursor_row, 0), len(front.cells) - 1)
        metric = latest.metric if latest else "loss"
        title = f"front: {len(front.cells)} pair(s)"
        self.query_one(Scatter).draw(
            title, front.nonzeros, front.losses, row, ("non-zeros", f"validation {metric}"), True
        )
        total = self.story.started.parameters if self.story.started else 0
        cell = front.cells[row]
        lines = [
            "made between two cells" if cell < 0 else f"cell {cell}",
            f"{front.nonzeros[row]:,} of {total:,} not zero",
        ]
        if total:
            lines.append(f"{1 - front.nonzeros[row] / total:.2%} zeros")
        lines.append(f"validation {metric} {front.losses[row]:.6g}")
        self.query_one("#pair", Static).update("\n".join(lines))

    def paint_result(self) -> None:
        story, table = self.story, self.query_one("#files", DataTable)
        self.query_one("#outcome", Static).update(outcome(story, self.status, self.folder))
        if table.row_count != len(story.saved):
            table.clear()
            for saved in story.saved.values():
                table.add_row(Text(saved.file), Text(saved.path), f"{saved.bytes:,}", key=saved.path)
        table.display = bool(story.saved)
        if story.saved and self.focused is None:  # it lost the focus when it was hidden, before there were files
            self.call_after_refresh(table.focus)
        self.query_one("#compared", Static).update(before_and_after(story, self.size.width >= WIDE))
        self.query_one("#profile", Static).update(profile(story))

    # What the user does.

    @on(TabbedContent.TabActivated)
    def repaint(self) -> None:
        self.stale = True
        self.refresh_bindings()
        self.call_after_refresh(self.paint)

    @on(Frame.Resized)
    def on_resize(self) -> None:
        self.repaint()

    @on(DataTable.RowHighlighted, "#pairs-table")
    def another_pair(self) -> None:
        self.paint_pair()

    @on(Ring.Chosen)
    def another_cell(self) -> None:
        self.repaint()

    @on(Ring.Opened)
    def open_cell(self, message: Ring.Opened) -> None:
        self.app.push_screen(Cell(self.story, message.cell))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing on a part are not shown there."""
        if action in ("pause", "stop"):
            return self.status in ("running", "paused")
        home = HOMES.get(action)
        return home is None or not self.is_mounted or self.query_one(TabbedContent).active == home

    def action_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        focus = {"run": "#ring", "pictures": "#previews", "front": "#pairs-table", "result": "#files"}[name]
        self.query_one(focus).focus()

    def action_colour(self) -> None:
        ring = self.query_one(Ring)
        ring.colour = "sparsity" if ring.colour == "loss" else "loss"

    def action_view(self) -> None:
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        self.paint_charts()

    def action_chart(self, by: int = 1) -> None:
        """On a small terminal there is room for one chart."""
        self.chart = CHARTS[(CHARTS.index(self.chart) + by) % len(CHARTS)]
        for name in CHARTS:
            self.query_one(f"#chart-{name}").set_class(name == self.chart, "-active")
        self.repaint()

    def action_shades(self) -> None:
        self.shades = not self.shades
        self.repaint()

    def action_pause(self) -> None:
        word = "resume" if self.status == "paused" else "pause"
        self.steer(word, f"{word.capitalize()} {self.folder.name}?")

    def action_stop(self) -> None:
        how = f"`aecompress prune --resume {self.folder}` goes on with it"
        self.steer("stop", f"Stop {self.folder.name}? It keeps its last generation; {how}.")

    @work
    async def steer(self, word: str, question: str) -> None:
        if not await self.app.push_screen_wait(Confirm(question)):
            return
        try:
            order(self.folder, word)
            self.notify(f"told to {word}", title=escape(self.folder.name))
        except AecompressError as fault:
            self.notify(str(fault), severity="error", markup=False)

    def action_copy(self) -> None:
        table = self.query_one("#files", DataTable)
        path = str(self.folder / str(table.get_row_at(table.cursor_row)[1]) if table.row_count else self.folder)
        self.app.copy_to_clipboard(path)
        self.notify(path, title="copied", markup=False)

    def action_report(self) -> None:
        self.notify("writing the report", markup=False)
        self.write_report()

    @work(thread=True, exclusive=True, group="report", exit_on_error=False)
    def write_report(self) -> None:
        fault = process.report(self.folder)
        self.app.call_from_thread(self.show_report, fault)

    def show_report(self, fault: str) -> None:
        if fault:
            self.notify(fault, severity="error", markup=False)
        else:
            self.app.open_url((self.folder / "report.html").resolve().as_uri())

    def action_back(self) -> None:
        self.app.show_runs(self.folder.parent)  # type: ignore[attr-defined]


WIDE = 100
"""Columns that the whole before/after table needs."""
WORDS = {
    "finished": "The run is finished: 4 shows the result.",
    "failed": "The run failed: 4 says why.",
    "killed": "The run's process is gone; prune --resume goes on from its last checkpoint.",
    "stopped": "The run stopped and can be resumed.",
    "vanished": "The run folder is not there any more, or holds no run.",
}


def outcome(story: Story, status: str, folder: Path) -> Table:
    """How the run ended, or that it has not."""
    table = Table.grid(padding=(0, 2))
    ended = story.ended
    if isinstance(ended, Finished):
        table.add_row(Text("finished", "bold"), f"after {draw.span(story.elapsed(None))}")
        table.add_row("zeros", f"{ended.zeros:,} of {ended.parameters:,} ({ended.sparsity:.2%})")
        for split in ("train", "validation", "test"):
            measured = {
                name.removeprefix(f"{split}_"): v for name, v in ended.metrics.items() if name.startswith(split)
            }
            if measured:
                table.add_row(split, "  ".join(f"{name.replace('_', ' ')} {v:.5g}" for name, v in measured.items()))
    elif isinstance(ended, Stopped | Failed):
        message = ended.reason if isinstance(ended, Stopped) else ended.message
        table.add_row(Text(ended.kind, "bold"), Text(message))
        table.add_row("go on with", Text(f"aecompress prune --resume {folder}"))
    else:
        table.add_row(Text(status, "bold"), Text(WORDS.get(status, "The result comes with the last generation.")))
    if story.verified is not None:
        word = "passed" if story.verified.passed else "FAILED"
        table.add_row(
            "verified in onnxruntime",
            f"{word}: {story.verified.checks} checks, largest difference {story.verified.max_difference:.2e}",
        )
    if story.damaged:
        table.add_row("event log", f"{story.damaged} damaged line(s) passed over")
    table.add_row("folder", Text(str(folder)))
    return table


def before_and_after(story: Story, wide: bool) -> Group | str:
    """What the files take beside the dense model of the same shape, and why variants were kept or not.

    Where it is not ``wide``, milliseconds are left to their ratios.
    """
    if story.compared is None:
        return ""
    head, *rows = story.compared.table()
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for index, name in enumerate(head):
        if not wide and name.startswith("ms"):
            continue
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for name, cell in zip(head, row, strict=True) if wide or not name.startswith("ms")))
    return Group(Text(""), table, *(Text(note, "dim") for note in story.compared.notes))


def profile(story: Story) -> Table:
    """Where the time went."""
    table = Table.grid(padding=(0, 2))
    if story.profiled is not None:
        total = sum(story.profiled.seconds.values()) or 1.0
        table.add_row(Text("\nwhere the time went", "dim"))
        for what, seconds in sorted(story.profiled.seconds.items(), key=lambda item: -item[1]):
            table.add_row(what, f"{seconds:8.2f} s", draw.bar(seconds / total, 20))
    return table
