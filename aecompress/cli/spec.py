"""``aecompress spec``: the resolved spec with the source of each value."""

from __future__ import annotations

from typing import Annotated

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, reported


@options.with_spec
def spec_command(
    asked: options.Asked,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a spec file.")] = False,
) -> None:
    """Print the spec a run would have, as TOML, each value with where it came from.

    The data are read, because the default recipe depends on them.
    """
    with reported():
        if schema:
            from aecompress.spec.fields import RunSpec

            emit_json(RunSpec.model_json_schema())
            return
        resolved = asked()
        from aecompress.data.dataset import load
        from aecompress.plan.auto import RECIPE, complete
        from aecompress.plan.facts import RunFacts
        from aecompress.spec.toml import to_toml

        dataset = load(resolved.spec.data, resolved.spec.seed)
        facts = RunFacts(dataset.facts, frozenset(dataset.splits))
        typer.echo(to_toml(complete(resolved, facts, RECIPE)), nl=False)
