"""``aecompress``: the commands in one application. Heavy imports live inside the commands."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, Any

import typer

from aecompress import __version__
from aecompress.cli import bench, control, data, export, front, inspect, prune, report, spec, sweep, verify, watch
from aecompress.cli.exits import filter_the_rest, note, reported

LATEST_END = 1.5
"""Seconds from a signal to the end of the program, where no run has handlers of its own."""
USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
"""Typer brings its own or click's."""
app = typer.Typer(
    name="aecompress",
    help="Train autoencoders, prune them while they learn, and ship small verified ONNX models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("prune")(prune.prune)
app.command("watch")(watch.watch)
app.command("control")(control.control)
app.command("export")(export.export)
app.command("front")(front.front)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.command("verify")(verify.verify)
app.command("inspect")(inspect.inspect)
app.command("data")(data.data)
app.command("spec")(spec.spec_command)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"aecompress {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def end(received: int, frame: object) -> None:
    """End the program in one line, by an exception, so that half-written files are removed; at the latest in 1.5 s.

    Imports of others may swallow the exception.
    """
    note(f"aecompress: stopped by {signal.Signals(received).name}")
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda alarm, frame: os._exit(128 + received))
        signal.setitimer(signal.ITIMER_REAL, LATEST_END)
    sys.exit(128 + received)


class Unheard(io.FileIO):
    """A stream for people: what it cannot take, as on a full disk, is dropped, and no work is lost for it."""

    def write(self, data: Any, /) -> int:
        """Write bytes, or drop them; return how many were taken."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def open_streams() -> None:
    """Send to nowhere what would go to a stream that was closed before, as by `>&-`, and what stderr cannot take.

    Standard input that was closed is empty.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  # until the end
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        people = io.BufferedWriter(Unheard(sys.__stderr__.fileno(), "w", closefd=False))
        sys.stderr = io.TextIOWrapper(people, encoding=sys.__stderr__.encoding, line_buffering=True)


def command() -> Any:
    """Return the application, whose help shows a switch without a value: typer says <bool>, as if it took one."""
    root: Any = typer.main.get_command(app)
    for each in (root, *root.commands.values()):
        for parameter in each.get_params(each.context_class(each)):
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
    return root


def main() -> None:
    """Run the command line; the ``aecompress`` script calls it."""
    # OpenMP threads that spin for long while another process has their core make a run many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Until a run has its own handlers there is nothing to save: a signal just ends the program, with its exit code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    open_streams()
    filter_the_rest()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with reported():
            sys.exit(command()(standalone_mode=False))  # app() would put its own hook in place of ours
    except USAGE_ERROR as fault:
        if type(fault).__name__ == "NoArgsIsHelpError":  # which class that is depends on typer's version
            fault.show()
        else:
            called = fault.ctx.command_path if fault.ctx else "aecompress"
            note(f"aecompress: {fault.format_message().removesuffix('.')}; see `{called} --help`")
        sys.exit(fault.exit_code)
