"""The application: which screen is shown, themes, help. No number is computed here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown

from . import process
from .panes import TABS
from .screens.launch import LaunchScreen
from .screens.run import RunScreen
from .screens.runs import RunsScreen

HELP = """\
# aecompress watch

A run writes its events to `events.jsonl` in its folder; this program follows that file. Closing it does not stop the
run.

| key | |
|---|---|
| {keys} | {tabs} |
| `l` | colour the cells by loss or by sparsity |
| `v` | curves of the best, the mean, the worst, or the chosen cell |
| `c` | next chart, on a terminal that shows one |
| arrows, `enter` | choose a cell, open its detail |
| `p` `s` | pause or resume, stop (each is confirmed; a stopped run keeps its last epoch) |
| `b` | pictures as blocks or as shades |
| `y` `o` | copy the path of a file, open the report |
| `escape` | the list of runs; `n` there starts a new one |
| `d` | dark or light |
| `ctrl+p` | every command by name |
| `q` | leave |

**The ring.** Rows of cells run right and left in turn; the last cell is a neighbour of the first. `*` marks the cell
with the lowest validation loss, brackets the chosen one. `<` and `>`: its individual was copied from the left or the
right neighbour in the last selection; `<7`: from cell 7 (`«` where the number does not fit); nothing: it
stayed.
"""


def help_text() -> str:
    """Return the help, with the table of tabs."""
    return HELP.format(keys=" ".join(f"`{tab.key}`" for tab in TABS), tabs=", ".join(tab.name for tab in TABS))


class Help(ModalScreen[None]):
    """What the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "Back")]

    def compose(self) -> Iterable[VerticalScroll]:
        with VerticalScroll(classes="dialog large"):
            yield Markdown(help_text())  # type: ignore[misc]


class WatchApp(App[None]):
    """Follows run folders."""

    CSS_PATH = "app.tcss"
    TITLE = "aecompress"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("d", "dark", "Dark/light", show=False),
        Binding("q", "quit", "Leave"),
    ]

    def __init__(self, folder: Path, is_run: bool, child: process.Child | None = None) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self.folder = folder
        self.is_run = is_run
        self.child = child

    def on_mount(self) -> None:
        self.push_screen(RunScreen(self.folder) if self.is_run else RunsScreen(self.folder))

    def show_run(self, folder: Path, child: process.Child | None = None) -> None:
        """Open a run."""
        self.child = child or self.child
        self.switch_screen(RunScreen(folder))

    def show_runs(self, parent: Path) -> None:
        """Open the list of runs."""
        self.switch_screen(RunsScreen(parent))

    def show_launch(self, parent: Path) -> None:
        """Open the launch form."""
        self.switch_screen(LaunchScreen(parent))

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_dark(self) -> None:
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        yield SystemCommand("Help", "What the keys do", self.action_help)
        parent = screen.folder.parent if isinstance(screen, RunScreen) else self.folder
        yield SystemCommand("Runs", "The list of runs", lambda: self.show_runs(parent))
        yield SystemCommand("New run", "The launch form", lambda: self.show_launch(parent))
        if isinstance(screen, RunScreen):
            yield SystemCommand("Pause or resume", "Pause the run, or resume it", screen.action_pause)
            yield SystemCommand("Stop", "Stop the run, keeping its last epoch", screen.action_stop)
            for tab in screen.TABS:
                yield SystemCommand(f"Show {tab.name}", "A part of this run", partial(screen.action_tab, tab.name))
