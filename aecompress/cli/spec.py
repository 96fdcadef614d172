"""``aecompress spec``: the resolved spec with the source of each value."""

from __future__ import annotations

from typing import Annotated

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, reported


def spec_command(
    source: options.Source = None,
    spec: options.SpecFile = None,
    preset: options.Preset = None,
    set_: options.Set = None,
    mode: options.Mode = None,
    seed: options.Seed = None,
    device: options.Device = None,
    precision: options.Precision = None,
    key: options.Key = None,
    split: options.Split = None,
    val: options.Val = None,
    test: options.Test = None,
    scaling: options.Scaling = None,
    hidden: options.Hidden = None,
    latent: options.Latent = None,
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    lr: options.Rate = None,
    operator: options.Operator = None,
    schedule: options.Schedule = None,
    target_sparsity: options.Target = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a spec file.")] = False,
) -> None:
    """Print the spec a run would have, as TOML, each value with where it came from.

    The data are read, because the default recipe depends on them.
    """
    values = locals()
    with reported():
        if schema:
            from aecompress.spec import RunSpec

            emit_json(RunSpec.model_json_schema())
            return
        resolved = options.resolved_from(values)
        from aecompress.data.dataset import load
        from aecompress.spec import complete, to_toml

        dataset = load(resolved.spec.data, resolved.spec.seed)
        typer.echo(to_toml(complete(resolved, dataset.facts)), nl=False)
