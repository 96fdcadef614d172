"""A run that is known to be possible: everything that can be checked before the first write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aecompress.data.base import Raw
from aecompress.data.dataset import Dataset, load
from aecompress.data.sources.formats import read_array
from aecompress.data.sources.stdin import STDIN, STDIN_NAME
from aecompress.data.table import with_columns
from aecompress.deploy.checkpoint import check_states
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.code import check_trusted, code_in
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.errors import DataError
from aecompress.event_log import read_log
from aecompress.events import Started
from aecompress.evolve.base import Plan
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.auto import complete, filled
from aecompress.plan.brought import Brought, bring_in, tensors_of
from aecompress.plan.data import request_of
from aecompress.plan.device import check_memory, devices_for, devices_reading, devices_to_resume, moved
from aecompress.plan.engine import cheapest_device, choose_engine, engine_to_resume, workload_of
from aecompress.plan.export import Export, export_of
from aecompress.plan.facts import RunFacts
from aecompress.plan.first import First, check_components, first_of
from aecompress.plan.goal import Goal, goal_of
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.plan.rows import Sampling, sampling_of
from aecompress.plan.suitability import notes_of
from aecompress.runs import folder, modules
from aecompress.runs.inputs import Inputs, check_raw, read_inputs, unscaled
from aecompress.runs.modules import Bring
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved, resolve
from aecompress.steering import fingerprint_of, names_of, read_status


@dataclass(frozen=True)
class Job:
    """A run that is known to be possible: nothing has been written yet."""

    resolved: Resolved
    """The complete spec, as it is written down; the other fields have what the run needs of it."""
    dataset: Dataset
    net: Autoencoder
    plan: Plan
    goal: Goal
    export: Export
    first: First
    sampling: Sampling
    checkpoint_every: int
    """Generations between two checkpoints; 0: none is written."""
    device: torch.device
    folder: Path
    directory: Path
    """Where relative paths of the spec start."""
    resumed: bool = False
    code: Mapping[str, str] = field(default_factory=dict)
    """The file and name of the code that was trusted, and its sha256; empty: there is none."""
    brought: Pretrained | None = None
    """The model that it begins with; None: it is drawn."""
    moved: str = ""
    """In one sentence, that it is resumed on another device than it was begun on."""

    @property
    def values(self) -> dict[str, Any]:
        """Return the complete spec as plain values, for the first event."""
        return self.resolved.spec.model_dump(mode="json")

    @property
    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with."""
        return {"spec_hash": self.export.spec_hash, "fingerprint": self.dataset.fingerprint}


def prepare(resolved: Resolved, output: Path | None = None, force: bool = False, trusted: bool = False) -> Job:
    """Return a run's job: read the data, complete the spec, check everything that can be checked before a write.

    Args:
        trusted: whether code that the spec names may be run.

    Raises:
        AecompressError: SpecError, DataError, DeviceError or OutputError, with nothing written.
    """
    return job_of(read_inputs(resolved, output, force, trusted=trusted))


def job_of(inputs: Inputs) -> Job:
    """Return the job of a run whose inputs were read.

    Raises:
        AecompressError: SpecError, DataError or DeviceError, with nothing written.
    """
    devices = devices_for(inputs.resolved.spec.device)
    spec = inputs.resolved.spec
    check_raw(inputs.dataset, spec)
    check_trusted(spec.model.init, inputs.trusted)
    code = code_in(spec.model.init)
    bring = None if code is None else modules.from_code(code, spec.seed, Path.cwd())
    return _job(inputs.resolved, inputs.dataset, devices, inputs.folder, Path.cwd(), bring=bring)


def prepare_in_memory(resolved: Resolved, given: Raw[Any] | None, bring: Bring | None = None) -> Job:
    """Return the job of a run that writes nothing: :func:`aecompress.runs.memory.carry_out` carries it out.

    Columns that are too fine for files that take raw rows are not refused: an export does that (:func:`check_raw`).

    Args:
        given: raw rows that are in memory; None: those that the spec names.
        bring: how the model that it begins with comes in; None: it is drawn, or the spec names its file.

    Raises:
        AecompressError: SpecError, DataError or DeviceError.
    """
    devices = devices_for(resolved.spec.device)
    if bring is None:
        check_trusted(resolved.spec.model.init, False)
    resolved = unscaled(resolved, brought=bring is not None)
    dataset = load(request_of(resolved.spec.data, resolved.spec.seed), given)
    return dataclasses.replace(_job(resolved, dataset, devices, Path(), Path.cwd(), bring=bring), checkpoint_every=0)


def prepare_resume(where: Path) -> Job:
    """Return the job that resumes the run in ``where``.

    Raises:
        AecompressError: there is no such run, or its data are gone or have changed.
    """
    resolved, status = started_with(where)
    devices = devices_to_resume(resolved.spec.device)
    dataset = rows_again(resolved.spec, where, status)
    check_raw(dataset, resolved.spec)
    is_code = code_in(resolved.spec.model.init) is not None
    bring = modules.from_run(where, status.get("code", {})) if is_code else None
    job = _job(resolved, dataset, devices, where, directory_of(status), resumed=True, bring=bring)
    check_states(where / "checkpoint", job.identity)
    return dataclasses.replace(
        job,
        dataset=_as_decided(job.dataset, where),
        moved=moved(str(status.get("device", "")), status.get("card", {}), job.device),
    )


def prepare_export(run: Path, flags: dict[str, tuple[str, Any]]) -> tuple[Dataset, Export]:
    """Return the rows of the run in ``run``, and what it exports under other flags.

    Args:
        flags: dotted path -> (the flag as the user wrote it, value) of export fields.

    Raises:
        AecompressError: there is no such run, a flag is wrong, or its data are gone or have changed.
    """
    _, status = started_with(run)
    spec = resolve(flags, file=run / "spec.toml").spec
    dataset = rows_again(spec, run, status)
    check_raw(dataset, spec)
    return _as_decided(dataset, run), export_of(spec)


def _as_decided(dataset: Dataset, where: Path) -> Dataset:
    """Return rows with all that was decided when the run in ``where`` was started, as its log has it.

    Its spec is complete since, so that what was assumed of a pretrained model cannot be seen in it.
    """
    log = where / "events.jsonl"
    begun = (
        event
        for event in (read_log(log) if log.is_file() and not log.is_symlink() else [])
        if isinstance(event, Started)
    )
    return next((dataclasses.replace(dataset, decisions=tuple(event.decisions)) for event in begun), dataset)


def started_with(where: Path) -> tuple[Resolved, dict[str, Any]]:
    """Return the spec that the run in ``where`` was started with, and its status.

    Raises:
        DataError: there is no run, or its ``spec.toml`` cannot be read or was changed since.
        SpecError: ``spec.toml`` is not a spec.
    """
    status = read_status(where)
    resolved = resolve(file=folder.own_spec(where))
    if resolved.spec.hash != status.get("spec_hash"):
        raise DataError(
            f"{where / 'spec.toml'}: is not the spec that the run was started with, whose hash run.json has; "
            "restore it, or start another run with `aecompress prune --spec`"
        )
    return Resolved(resolved.spec, dict(status.get("sources", resolved.sources))), status


def directory_of(status: dict[str, Any]) -> Path:
    """Return where relative paths of a run's spec start."""
    return Path(str(status.get("directory", "")))


def rows_again(spec: RunSpec, where: Path, status: dict[str, Any]) -> Dataset:
    """Return the rows that the run in ``where`` was started with.

    Raises:
        DataError: they are gone or have changed.
    """
    given = None
    if spec.data.source == STDIN:
        rows = with_columns(read_array(where / "data.npy"), status["dataset"].get("columns"))
        given = Raw(name=STDIN_NAME, train=rows, inputs=names_of(status))
    request = dataclasses.replace(request_of(spec.data, spec.seed, directory_of(status)), scratch=where)
    dataset = load(request, given)
    if dataset.fingerprint != fingerprint_of(where, status):
        raise DataError(f"{spec.data.source}: its rows are not those the run in {where} was started with; restore them")
    return dataset


def _job(
    resolved: Resolved,
    dataset: Dataset,
    devices: list[torch.device],
    where: Path,
    directory: Path,
    *,
    resumed: bool = False,
    bring: Bring | None = None,
) -> Job:
    """Choose the device, fill in the spec's "auto" fields and plan the run."""
    brought = _brought(resolved, dataset, directory, bring)
    if brought is not None:
        dataset = dataclasses.replace(dataset, decisions=(*dataset.decisions, *brought.notes))
    pretrained = None if brought is None else brought.facts
    facts = RunFacts(data=dataset.facts, splits=frozenset(dataset.splits), pretrained=pretrained)
    if facts.data.stored:
        devices = devices_reading(resolved.spec.device, devices)
    device = devices[0] if len(devices) == 1 else choose_device(resolved, facts, devices)
    resolved = complete(resolved, dataclasses.replace(facts, device=device))
    net = network_of(resolved.spec.model, facts.data.row_shape, facts.data.windows)
    dataset = dataclasses.replace(dataset, decisions=(*dataset.decisions, *notes_of(resolved.spec, net)))
    check_components(resolved.spec, net, dataset)
    load = workload_of(resolved.spec, net, device, facts.data.rows)
    compile = resolved.spec.compile
    engine = engine_to_resume(load, compile) if resumed else choose_engine(load, compile).engine
    plan = plan_of(resolved.spec, load, engine)
    pruned = brought is not None and brought.model.pruned
    if pruned and resolved.spec.prune.masks == "fixed":  # also where nothing more is pruned
        plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, persistent_masks=True))
    check_memory(plan, resolved.spec, dataset, device)
    return Job(
        resolved=resolved,
        dataset=dataset,
        net=net,
        plan=plan,
        goal=goal_of(resolved.spec),
        export=export_of(resolved.spec),
        first=dataclasses.replace(
            first_of(resolved.spec, None if brought is None else tensors_of(brought.model, resolved.spec)),
            pruned=pruned,
        ),
        sampling=sampling_of(resolved.spec),
        checkpoint_every=resolved.spec.checkpoint_every,
        device=device,
        folder=where,
        directory=directory,
        resumed=resumed,
        code={} if bring is None else bring.code,
        brought=None if brought is None else brought.model,
    )


def _brought(resolved: Resolved, dataset: Dataset, directory: Path, bring: Bring | None) -> Brought | None:
    """Return the model that a run begins with, computed on its rows; None: it is drawn.

    Raises:
        DataError: it cannot be read, or is not a model of these rows.
    """
    path = directory / resolved.spec.model.init
    if bring is not None:
        trained = resolved.spec.train.epochs == 0  # a class gives first weights, which are trained here
        return bring_in(path, bring.read(dataset), resolved, dataset, trained=trained, strict=True)
    if not resolved.spec.model.init:
        return None
    return bring_in(path, read_pretrained(path, dataset.facts.row_shape), resolved, dataset)


def choose_device(resolved: Resolved, facts: RunFacts, devices: list[torch.device]) -> torch.device:
    """Return the device, of several, on which the run is expected to take the least time.

    Of a draft: the complete spec, which depends on the device, is the one that is checked.
    """
    spec = filled(resolved, facts).spec
    net = network_of(spec.model, facts.data.row_shape, facts.data.windows)
    return cheapest_device([workload_of(spec, net, device, facts.data.rows) for device in devices], spec.compile)
