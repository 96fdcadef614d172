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

from aecompress.steering import new_folder

from .. import process
from ..form import PRESET_NAMES, Asked, Field, arguments, command_line, faults, form_fields


class LaunchScreen(Screen[None]):
    """A run is asked for here."""

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
                yield Input("digits", placeholder="digits, binary-clusters:CxRxD, FILE.npy, FILE.csv", id="data")
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
        with Vertical(id="says"):
            yield Static(id="command")
            yield Static(id="faults")
            yield Button("Start (ctrl+r)", id="start", variant="primary")
        yield Footer()

    def folder_for(self, data: str) -> Path:
        return self.runs / new_folder(Path(data.split(":")[0]).name.partition(".")[0] or "run").name

    def on_mount(self) -> None:
        self.query_one("#data", Input).focus()
        self.check()

    def asked(self) -> Asked:
        """What the widgets say."""
        texts = {}
        for field in self.form:
            widget = self.query_one(f"#{_id(field)}")
            if isinstance(widget, Select):
                texts[field.flag.field] = "" if widget.is_blank() else str(widget.value)
            elif isinstance(widget, Input):
                texts[field.flag.field] = widget.value.strip()
        preset = str(self.query_one("#preset", Select).value)
        data, more, output = (self.query_one(f"#{name}", Input).value.strip() for name in ("data", "more", "output"))
        return Asked(data, preset, texts, more, output)

    @on(Input.Changed)
    @on(Select.Changed)
    def check(self) -> None:
        """Show the command line and what is wrong with it."""
        asked = self.asked()
        wrong = faults(asked)
        self.query_one("#command", Static).update(Text(command_line(asked)))
        self.query_one("#faults", Static).update(Text("\n".join(wrong) or "The spec is sound."))
        self.query_one("#faults").set_class(bool(wrong), "-wrong")
        self.query_one("#start", Button).disabled = bool(wrong)

    @on(Input.Changed, "#data")
    def name_output(self, event: Input.Changed) -> None:
        """The output follows the data until the user writes one."""
        output = self.query_one("#output", Input)
        if not output.has_class("-own"):
            with output.prevent(Input.Changed):
                output.value = str(self.folder_for(event.value or "run"))
            self.check()

    @on(Input.Changed, "#output")
    def own_output(self, event: Input.Changed) -> None:
        event.input.set_class(event.input.has_focus, "-own")

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        asked = self.asked()
        wrong = faults(asked)
        if wrong:
            self.notify("\n".join(wrong), severity="error", markup=False)
            return
        self.query_one("#start", Button).disabled = True
        self.launch(asked)

    @work(exclusive=True)
    async def launch(self, asked: Asked) -> None:
        """Start the process and wait until its log is there, or until it says what is wrong."""
        child = process.start([*arguments(asked), "--quiet"], Path(asked.output))
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
