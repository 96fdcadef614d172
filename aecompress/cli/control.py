"""``aecompress control``: pause, resume or stop a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import reported


def control(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)],
    word: Annotated[str, typer.Argument(metavar="pause|resume|stop", help="The order.", show_default=False)],
) -> None:
    """Pause, resume or stop a run of another process.

    A stopped run keeps its last epoch; `aecompress prune --resume RUN` resumes it.
    """
    with reported():
        from aecompress.errors import SpecError
        from aecompress.steering import ORDERS, order

        if word not in ORDERS:
            raise SpecError(f"control {word}: is not one of {', '.join(ORDERS)}")
        order(run, word)
