"""The launch form: dataset, preset and options, checked while they are typed; starts the run as its own process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Footer, Input, Label, Select, Static

from aecompress.errors import printable
from aecompress.registry import data_usage
from aecompress.steering import new_folder

from .. import process
from ..form import PRESET_NAMES, Field, Request, arguments, command_line, faults, form_fields


class LaunchScreen(Screen[None]):
    """The form of a new run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "start", "Start the run"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self.runs = parent
        self.form = form_fields()

    def compose(self) -> ComposeResult:
        yield Static("[b]A new run[/b]  empty fields keep their defaults", id="head")
        with VerticalScroll(id="form"):
            with Horizontal(classes="line"):
                yield Label("data")
                yield Input("digits", placeholder=data_usage(), id="data")
            with Horizontal(classes="line"):
                yield Label("preset")
                yield Select([(name, name) for name in PRESET_NAMES], value="default", allow_blank=False, id="preset")
            for field in self.form:
                with Horizontal(classes="line"):
                    yield Label(field.flag.flag)
                    yield _widget(field)
            with Horizontal(classes="line"):
                yield Label("--set")
                yield Input(placeholder="any field: train.warmup=0.2 checkpoint_every=5", id="more")
            with Horizontal(classes="line"):
                yield Label("-o")
                yield Input(str(self.folder_for("digits")), id="output")
        with Vertical(id="summary"):
            yield Static(id="command")
            yield Static(id="faults")
            yield Button("Start (ctrl+r)", id="start", variant="primary")
        yield Footer()

    def folder_for(self, data: str) -> Path:
        """Return the default folder of a run on ``data``."""
        folder = self.runs / new_folder(Path(data.split(":")[0]).name.partition(".")[0] or "run").name
        return Path(printable(str(folder)))

    def on_mount(self) -> None:
        self.query_one("#data", Input).focus()
        self.check()

    def request(self) -> Request:
        """Return the values of the widgets."""
        texts = {}
        for field in self.form:
            widget = self.query_one(f"#{_id(field)}")
            if isinstance(widget, Select):
                texts[field.flag.field] = "" if widget.is_blank() else str(widget.value)
            elif isinstance(widget, Input):
                texts[field.flag.field] = widget.value.strip()
        preset = str(self.query_one("#preset", Select).value)
        data, more, output = (self.query_one(f"#{name}", Input).value.strip() for name in ("data", "more", "output"))
        return Request(data=data, preset=preset, texts=texts, more=more, output=output)

    @on(Input.Changed)
    @on(Select.Changed)
    def check(self) -> None:
        """Show the command line and what is wrong with it."""
        request = self.request()
        wrong = faults(request)
        self.query_one("#command", Static).update(Text(printable(command_line(request))))
        self.query_one("#faults", Static).update(Text(printable("\n".join(wrong)) or "Settings OK"))
        self.query_one("#faults").set_class(bool(wrong), "-wrong")
        self.query_one("#start", Button).disabled = bool(wrong)

    @on(Input.Changed, "#data")
    def name_output(self, event: Input.Changed) -> None:
        """Derive the output from the data until the user writes one."""
        output = self.query_one("#output", Input)
        if not output.has_class("-own"):
            with output.prevent(Input.Changed):
                output.value = str(self.folder_for(event.value or "run"))
            self.check()

    @on(Input.Changed, "#output")
    def own_output(self, event: Input.Changed) -> None:
        """Keep an output that the user writes."""
        event.input.set_class(event.input.has_focus, "-own")

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        request = self.request()
        wrong = faults(request)
        if wrong:
            self.notify(printable("\n".join(wrong)), severity="error", markup=False)
            return
        self.query_one("#start", Button).disabled = True
        self.launch(request)

    @work(exclusive=True)
    async def launch(self, request: Request) -> None:
        """Start the process and wait until its log is there, or show what is wrong."""
        child = process.start([*arguments(request), "--quiet"], Path(request.output))
        self.query_one("#faults", Static).update(Text(f"starting, process {child.process.pid} ..."))
        fault = await asyncio.to_thread(process.wait, child)
        if fault is not None:
            self.query_one("#faults", Static).update(Text(fault))
            self.query_one("#faults").add_class("-wrong")
            self.query_one("#start", Button).disabled = False
            return
        self.app.show_run(child.folder, child)  # type: ignore[attr-defined]

    def action_back(self) -> None:
        self.app.show_runs(self.runs)  # type: ignore[attr-defined]


def _id(field: Field) -> str:
    return "field-" + field.flag.field.replace(".", "-")


def _widget(field: Field) -> Select[str] | Input:
    if field.choices:
        return Select(
            [(choice, choice) for choice in field.choices], prompt=f"{field.default} (default)", id=_id(field)
        )
    return Input(placeholder=f"{field.default} (default)  {field.flag.help}", id=_id(field))
