"""A run that is known to be possible: everything that can be checked before the first write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress.data.dataset import Dataset, load
from aecompress.data.sources.registry import read_array
from aecompress.data.sources.stdin import STDIN
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.errors import DataError, SpecError
from aecompress.evolve.base import Plan
from aecompress.nets.autoencoder import Autoencoder, build
from aecompress.plan.auto import complete
from aecompress.plan.budget import resolve_budgets, resolve_limit, within_budget
from aecompress.plan.data import request_of
from aecompress.plan.device import check_memory, find_device
from aecompress.plan.engine import resolve_engine, workload_of
from aecompress.plan.plan import plan_of
from aecompress.runs import folder
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved, override, resolve
from aecompress.steering import new_folder, read_status


@dataclass(frozen=True)
class Job:
    """A run that is known to be possible: nothing has been written yet."""

    resolved: Resolved
    dataset: Dataset
    net: Autoencoder
    plan: Plan
    device: torch.device
    folder: Path
    directory: Path
    """Where relative paths of the spec start."""
    resumed: bool = False
    init: Mapping[str, NDArray[np.float32]] | None = None
    """Tensors of the pretrained model to start from, by torch's names."""

    @property
    def spec(self) -> RunSpec:
        """Return the complete spec."""
        return self.resolved.spec

    @property
    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        return {"spec_hash": self.spec.hash, "fingerprint": self.dataset.fingerprint}


def prepare(resolved: Resolved, output: Path | None = None, force: bool = False) -> Job:
    """Return a run's job: read the data, complete the spec, check everything that can be checked before a write.

    Raises:
        AecompressError: SpecError, DataError, DeviceError or OutputError, with nothing written.
    """
    if output is not None:
        folder.check_output(output, force)
    device = find_device(resolved.spec.device)
    dataset = load(request_of(resolved.spec.data, resolved.spec.seed))
    if output is None:
        output = new_folder(dataset.name)
        folder.check_output(output, force)
    return _job(resolved, dataset, device, output, Path.cwd())


def prepare_resume(where: Path) -> Job:
    """Return the job that resumes the run in ``where``.

    Raises:
        AecompressError: there is no such run, or its data are gone or have changed.
    """
    status = read_status(where)
    resolved = resolve(file=where / "spec.toml")
    resolved = Resolved(resolved.spec, dict(status.get("sources", resolved.sources)))
    device = find_device(resolved.spec.device)
    stdin = read_array(where / "data.npy") if resolved.spec.data.source == STDIN else None
    directory = Path(str(status.get("directory", "")))
    dataset = load(request_of(resolved.spec.data, resolved.spec.seed, directory), stdin)
    if dataset.fingerprint != status["dataset"]["fingerprint"]:
        raise DataError(
            f"{resolved.spec.data.source}: its rows are not those the run in {where} was started with; restore them"
        )
    return _job(resolved, dataset, device, where, directory, resumed=True)


def _job(
    resolved: Resolved, dataset: Dataset, device: torch.device, where: Path, directory: Path, resumed: bool = False
) -> Job:
    """Fill in the spec's "auto" fields and plan the run."""
    init = None
    if resolved.spec.model.init:
        pretrained = read_pretrained(directory / resolved.spec.model.init)
        resolved, init = adopt(resolved, pretrained, dataset), pretrained.tensors
    resolved = complete(resolved, dataset.facts)
    net = build(resolved.spec.model, dataset.train.shape[1])
    resolved = within_budget(resolved, net, net.encoder, net.decoder)
    resolved = resolve_budgets(resolved, net)
    resolved = resolve_limit(resolved, dataset.splits)
    load = workload_of(resolved.spec, net, device, len(dataset.train))
    resolved, engine = resolve_engine(resolved, load)
    plan = plan_of(resolved.spec, load, engine)
    check_memory(plan, resolved.spec, dataset, device)
    return Job(
        resolved=resolved,
        dataset=dataset,
        net=net,
        plan=plan,
        device=device,
        folder=where,
        directory=directory,
        resumed=resumed,
        init=init,
    )


def adopt(resolved: Resolved, pretrained: Pretrained, dataset: Dataset) -> Resolved:
    """Return the spec with the layers of a pretrained model; activations that its file lacks come from the spec.

    Raises:
        DataError, SpecError: it does not fit the rows, or the spec has other layers.
    """
    model, source = resolved.spec.model, f"--init {resolved.spec.model.init}"
    if model.family == "variational":
        raise SpecError("model.init: brings no variance head; choose model.family = 'plain' or 'denoising'")
    inputs = dataset.train.shape[1]
    if pretrained.encoder[0].inputs != inputs:
        raise DataError(
            f"{model.init}: takes {pretrained.encoder[0].inputs} inputs, the rows have {inputs}; give its rows"
        )
    if (model.hidden, model.latent) != ("auto", "auto"):
        raise SpecError("model.hidden and model.latent: come from model.init; leave them out")
    last = {
        "encoder": "identity" if model.latent_activation == "auto" else model.latent_activation,
        "decoder": ("sigmoid" if dataset.facts.unit else "identity") if model.output == "auto" else model.output,
    }
    for part, layers in (("encoder", pretrained.encoder), ("decoder", pretrained.decoder)):
        default = [model.activation] * (len(layers) - 1) + [last[part]]
        adopted = [
            {"out": layer.outputs, "activation": layer.activation or activation}
            for layer, activation in zip(layers, default, strict=True)
        ]
        requested = [layer.model_dump() for layer in getattr(model, part)]
        if requested and requested != adopted:
            raise SpecError(f"model.{part}: {model.init} has other layers ({adopted}); leave it out")
        resolved = override(resolved, f"model.{part}", adopted, source)
    return resolved
