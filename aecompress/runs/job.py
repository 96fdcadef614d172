"""A run that is known to be possible: everything that can be checked before the first write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress.data.dataset import Dataset, load
from aecompress.data.sources.formats import file_and_key, read_array
from aecompress.data.sources.registry import file_of
from aecompress.data.sources.stdin import STDIN
from aecompress.deploy.checkpoint import check_states
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.errors import DataError
from aecompress.evolve.base import Plan
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.auto import complete
from aecompress.plan.data import request_of
from aecompress.plan.device import check_memory, devices_for, devices_to_resume, moved
from aecompress.plan.engine import cheapest_device, choose_engine, engine_to_resume, workload_of
from aecompress.plan.export import Export, export_of
from aecompress.plan.facts import LayerFacts, PretrainedFacts, RunFacts
from aecompress.plan.goal import Goal, goal_of
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.runs import folder
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved
from aecompress.steering import fingerprint_of, new_folder


@dataclass(frozen=True)
class Job:
    """A run that is known to be possible: nothing has been written yet."""

    resolved: Resolved
    dataset: Dataset
    net: Autoencoder
    plan: Plan
    goal: Goal
    export: Export
    checkpoint_every: int
    """Generations between two checkpoints."""
    device: torch.device
    folder: Path
    directory: Path
    """Where relative paths of the spec start."""
    resumed: bool = False
    moved: str = ""
    """In one sentence, that it is resumed on another device than it was begun on."""
    init: Mapping[str, NDArray[np.float32]] | None = None
    """Tensors of the pretrained model to start from, by torch's names."""

    @property
    def spec(self) -> RunSpec:
        """Return the complete spec."""
        return self.resolved.spec

    @property
    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        return {"spec_hash": self.export.spec_hash, "fingerprint": self.dataset.fingerprint}


def prepare(resolved: Resolved, output: Path | None = None, force: bool = False) -> Job:
    """Return a run's job: read the data, complete the spec, check everything that can be checked before a write.

    Raises:
        AecompressError: SpecError, DataError, DeviceError or OutputError, with nothing written.
    """
    inputs = inputs_of(resolved.spec)
    if output is not None:
        folder.check_output(output, force, inputs)
    devices = devices_for(resolved.spec.device)
    dataset = load(request_of(resolved.spec.data, resolved.spec.seed))
    if output is None:
        output = new_folder(dataset.name)
        folder.check_output(output, force)
    return _job(resolved, dataset, devices, output, Path.cwd())


def inputs_of(spec: RunSpec) -> list[Path]:
    """Return the files that a run reads; names of built-in sources are none that exist."""
    sources = (file_of(spec.data.source), spec.data.val, spec.data.test, spec.data.labels, spec.model.init)
    return [file_and_key(source)[0] for source in sources if source]


def prepare_resume(where: Path) -> Job:
    """Return the job that resumes the run in ``where``.

    Raises:
        AecompressError: there is no such run, or its data are gone or have changed.
    """
    resolved, status = folder.started_with(where)
    devices = devices_to_resume(resolved.spec.device)
    stdin = read_array(where / "data.npy") if resolved.spec.data.source == STDIN else None
    directory = Path(str(status.get("directory", "")))
    dataset = load(request_of(resolved.spec.data, resolved.spec.seed, directory), stdin)
    if dataset.fingerprint != fingerprint_of(where, status):
        raise DataError(
            f"{resolved.spec.data.source}: its rows are not those the run in {where} was started with; restore them"
        )
    job = _job(resolved, dataset, devices, where, directory, resumed=True)
    check_states(where / "checkpoint", job.identity)
    return dataclasses.replace(job, moved=moved(str(status.get("device", "")), status.get("card", {}), job.device))


def _job(
    resolved: Resolved,
    dataset: Dataset,
    devices: list[torch.device],
    where: Path,
    directory: Path,
    resumed: bool = False,
) -> Job:
    """Choose the device, fill in the spec's "auto" fields and plan the run."""
    init, pretrained = None, None
    if resolved.spec.model.init:
        found = read_pretrained(directory / resolved.spec.model.init)
        init, pretrained = found.tensors, adopt(found)
    facts = RunFacts(data=dataset.facts, splits=frozenset(dataset.splits), pretrained=pretrained)
    device = devices[0] if len(devices) == 1 else choose_device(resolved, facts, devices)
    resolved = complete(resolved, dataclasses.replace(facts, device=device))
    net = network_of(resolved.spec.model, facts.data.row_shape)
    load = workload_of(resolved.spec, net, device, facts.data.rows)
    compile = resolved.spec.compile
    engine = engine_to_resume(load, compile) if resumed else choose_engine(load, compile).engine
    plan = plan_of(resolved.spec, load, engine)
    check_memory(plan, resolved.spec, dataset, device)
    return Job(
        resolved=resolved,
        dataset=dataset,
        net=net,
        plan=plan,
        goal=goal_of(resolved.spec),
        export=export_of(resolved.spec),
        checkpoint_every=resolved.spec.checkpoint_every,
        device=device,
        folder=where,
        directory=directory,
        resumed=resumed,
        init=init,
    )


def choose_device(resolved: Resolved, facts: RunFacts, devices: list[torch.device]) -> torch.device:
    """Return the device, of several, on which the run is expected to take the least time."""
    spec = complete(resolved, facts).spec
    net = network_of(spec.model, facts.data.row_shape)
    return cheapest_device([workload_of(spec, net, device, facts.data.rows) for device in devices], spec.compile)


def adopt(found: Pretrained) -> PretrainedFacts:
    """Return the layers of a pretrained model, as the plan reads them."""
    encoder, decoder = (
        tuple(LayerFacts(layer.outputs, layer.activation, layer.kind, layer.numbers) for layer in part)
        for part in (found.encoder, found.decoder)
    )
    return PretrainedFacts(inputs=found.inputs, encoder=encoder, decoder=decoder)
