"""``aecompress front``: the trade-off of one run, listed and plotted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli import drawing
from aecompress.cli.exits import emit_json, reported
from aecompress.cli.options import Json
from aecompress.cli.tables import emit_table


def front(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Finished run of --mode coevo.")],
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw it, as .svg or .png (extra plot).", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """List a run's non-dominated models, fewest non-zeros first; * marks the knee.

    No other model has both a lower loss and fewer non-zeros than one of these.

    `aecompress export RUN --pick` exports any of them.
    """
    with reported():
        from aecompress.runs.front import knee, load

        if plot is not None:
            drawing.check(plot)
        members = load(run)
        at = knee([(float(member.nonzeros), member.loss) for member in members])
        if plot is not None:
            from aecompress.runs.figures import front_chart

            across, up = [member.nonzeros for member in members], [member.loss for member in members]
            drawing.save(front_chart(across, up, at, f"{members[0].split} {members[0].metric}"), plot)
        if json:
            emit_json(
                {
                    "members": [
                        {
                            "path": str(member.path),
                            "nonzeros": member.nonzeros,
                            "sparsity": member.sparsity,
                            "loss": member.losses,
                            "metric": member.metric,
                            "knee": number == at,
                        }
                        for number, member in enumerate(members)
                    ]
                }
            )
            return
        splits = list(members[0].losses)
        rows = [("path", "nonzeros", "sparsity", *(f"{split}_{members[0].metric}" for split in splits), "knee")]
        for number, member in enumerate(members):
            losses = (f"{member.losses[split]:.6g}" for split in splits)
            mark = "*" if number == at else ""
            rows.append((str(member.path), str(member.nonzeros), f"{member.sparsity:.2%}", *losses, mark))
        emit_table(rows)
