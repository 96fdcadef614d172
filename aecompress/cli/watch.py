"""``aecompress watch``: the terminal UI on a run, or on a folder of runs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aecompress.cli.exits import note, reported

if TYPE_CHECKING:
    from aecompress_tui.process import Child


def watch(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Run folder, or a folder of runs. \\[default: runs]", show_default=False),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the UI to a browser.")] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to serve at; others than the default let in whoever has the printed address.",
        ),
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(metavar="NUMBER", help="Port to serve at.", min=1, max=65535)] = 8000,
) -> None:
    """Watch a run in the terminal UI. Closing it does not stop the run."""
    with reported():
        from aecompress.errors import DataError

        folder = run or Path("runs")
        if run is not None and not folder.is_dir():
            raise DataError(f"{folder}: is not a folder; name a run folder, or a folder of runs")
        if serve:
            serve_in_browser(folder, host, port)
        else:
            show(folder)


def show(folder: Path, child: Child | None = None) -> None:
    """Show the terminal UI in this terminal.

    Raises:
        DataError: this is not a terminal.
    """
    from aecompress.errors import DataError
    from aecompress_tui import build_app

    served = "TEXTUAL_DRIVER" in os.environ  # a page's process speaks to its server instead
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise DataError(
            f"{folder}: cannot be watched without a terminal; read {folder / 'events.jsonl'}, or use --serve"
        )
    build_app(folder, child).run()


def serve_in_browser(folder: Path, host: str, port: int) -> None:
    """Serve the terminal UI as a web page; each visitor gets a process of its own.

    Raises:
        DataError: the extra serve is not installed, or the address is not free.
    """
    from aecompress.children import command_line
    from aecompress.errors import DataError

    try:
        from aecompress_tui.serve import new_token, serve, url
    except ImportError as fault:
        raise DataError(f"--serve: needs {fault.name}; pip install 'aecompress[serve]'") from fault
    command = shlex.join(command_line("watch", str(folder.resolve())))
    token = new_token()
    note(f"serving {folder} at {url(host, port)}/?token={token} (ctrl+c stops it)")
    try:
        serve(command, host, port, token)
    except OSError as fault:
        raise DataError(f"--port {port}: {host} cannot be served at ({fault.strerror}); choose another") from fault
