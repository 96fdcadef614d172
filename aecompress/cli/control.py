"""``aecompress control``: tell a run to pause, go on, or stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import reported


def control(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)],
    word: Annotated[str, typer.Argument(metavar="pause|resume|stop", help="What it is told.", show_default=False)],
) -> None:
    """Pause, resume or stop a run that is going on in another process.

    A stopped run keeps its last generation; `aecompress prune --resume RUN` goes on with it.
    """
    with reported():
        from aecompress.errors import SpecError
        from aecompress.steering import WORDS, order

        if word not in WORDS:
            raise SpecError(f"control {word}: is not one of {', '.join(WORDS)}")
        order(run, word)
