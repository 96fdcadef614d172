"""``aecompress spec``: the resolved spec with the source of each value."""

from __future__ import annotations

from typing import Annotated

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, emit_text, reported


@options.with_spec
def spec_command(
    resolve: options.Resolve,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a spec file.")] = False,
) -> None:
    """Print the complete spec of a run as TOML, each value with its source.

    The data are read, because some defaults depend on them.
    """
    with reported():
        if schema:
            from aecompress.spec.fields import RunSpec

            emit_json(RunSpec.model_json_schema())
            return
        resolved = resolve()
        from aecompress.data.dataset import load
        from aecompress.plan.auto import RECIPE, complete
        from aecompress.plan.data import request_of
        from aecompress.plan.facts import RunFacts
        from aecompress.spec.toml import to_toml

        dataset = load(request_of(resolved.spec.data, resolved.spec.seed))
        facts = RunFacts(data=dataset.facts, splits=frozenset(dataset.splits))
        emit_text(to_toml(complete(resolved, facts, RECIPE)))
