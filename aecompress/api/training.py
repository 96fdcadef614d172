"""What an estimator does with a run in memory: train, list its front, pick another model, export."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from aecompress.api import fitted
from aecompress.api.fitted import Trained
from aecompress.api.front import Front, FrontModel, dense_loss
from aecompress.api.history import history_of
from aecompress.api.parameters import SOURCE
from aecompress.api.view import drawn, notebook
from aecompress.data.base import Raw
from aecompress.data.dataset import Dataset
from aecompress.data.raw import described_bytes
from aecompress.data.scaling import Scaling
from aecompress.deploy.checkpoint import Model
from aecompress.errors import DataError, OutputError, SpecError
from aecompress.events import Event, Generation, Started
from aecompress.files import standing
from aecompress.plan.export import Export, export_of
from aecompress.polling import no_poll
from aecompress.runs.again import about_bytes
from aecompress.runs.folder import check_replaceable
from aecompress.runs.front import Member, knee, pick
from aecompress.runs.inputs import check_raw
from aecompress.runs.job import prepare_export, prepare_in_memory
from aecompress.runs.lines import losses_of
from aecompress.runs.memory import Found, carry_out
from aecompress.runs.metrics import with_metrics
from aecompress.runs.modules import Bring, as_model
from aecompress.runs.package import export_model
from aecompress.spec.resolve import Resolved, override, resolve

LINES = 20
"""Lines of progress that a fit prints at most."""


def train(resolved: Resolved, raw: Raw[Any] | None, verbose: int, bring: Bring | None = None) -> Trained:
    """Carry a run out in memory and return what an estimator holds of it.

    Args:
        raw: the rows; None: those that the spec names.
        verbose: 0 shows nothing.
        bring: how the model that it begins with comes in; None: it is drawn, or the spec names its file.

    Raises:
        AecompressError: the spec or the rows cannot be used, or every model is lost.
    """
    job = prepare_in_memory(resolved, raw, bring)
    found: list[Found] = []
    events: Iterable[Event] = into(found, carry_out(job))
    if verbose:
        for decision in job.dataset.decisions:
            print(f"{job.dataset.name}: {decision}")
        draw = notebook()
        events = printed(events) if draw is None else drawn(events, draw, time.monotonic)
    log = [event for event in events if isinstance(event, Started | Generation)]
    dataset, export = job.dataset, job.export
    before = (
        {} if job.brought is None else with_metrics(as_model(job.brought, dataset), export, dataset).about["metrics"]
    )
    return Trained(
        before=before,
        model=found[0].model,
        front=found[0].front,
        metric=export.metric,
        names=dataset.inputs,
        row_shape=dataset.shape,
        threshold=fitted.threshold_of(found[0].model, export.metric, dataset.train, export.quantile),
        history=history_of(log, export.metric),
        dense_loss=dense_loss(log),
        export=export,
        resolved=job.resolved,
        encoding=dataset.encoding,
        decisions=dataset.decisions,
        dataset=dataset,
    )


def into(found: list[Found], running: Generator[Event, None, Found]) -> Iterator[Event]:
    """Yield the events of a run, and add what it found to ``found``."""
    found.append((yield from running))


def printed(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events, printing a line for about every twentieth of the epochs."""
    total = 0
    for event in events:
        if isinstance(event, Started):
            total = event.generations
        if isinstance(event, Generation):
            every = max(1, total // LINES)
            if event.generation % every == 0 or event.generation == total:
                print(f"epoch {event.generation}/{total}  {losses_of(event)}")
        yield event


def front_of(trained: Trained) -> Front:
    """Return the front as a table of its models."""
    members = members_of(trained)
    at_knee = knee([(float(member.nonzeros), member.loss) for member in members])
    models = (
        FrontModel(
            sparsity=member.sparsity,
            nonzeros=member.nonzeros,
            bytes=size_of(trained, model),
            loss=member.loss,
            against_dense=member.loss / trained.dense_loss if trained.dense_loss else None,
            knee=at == at_knee,
            folder=None,
        )
        for at, (member, model) in enumerate(zip(members, trained.front, strict=True))
    )
    return Front(tuple(models), trained.metric, members[0].split)


def members_of(trained: Trained) -> list[Member]:
    """Return the models of the front as a pick takes them; their paths are their places."""
    return [
        Member(
            path=Path(str(at)),
            nonzeros=model.parameters - model.zeros,
            parameters=model.parameters,
            metric=trained.metric,
            losses=model.about["losses"],
        )
        for at, model in enumerate(trained.front)
    ]


def size_of(trained: Trained, model: Model) -> int:
    """Return about the bytes of the smallest autoencoder file of a model."""
    return about_bytes(model, trained.export, described_bytes(Scaling(**model.scaling), trained.names))


def picked(trained: Trained, which: str) -> Trained:
    """Return the same with another model of the front in its place.

    Raises:
        DataError: it was loaded from a run whose rows are gone.
        SpecError: ``which`` names none, or no model meets it.
    """
    members = members_of(trained)
    try:
        member = pick(members, which, lambda member: size_of(trained, trained.front[int(str(member.path))]))
    except SpecError as fault:
        raise SpecError(str(fault).replace("--pick ", "pick: ")) from fault
    model, dataset = trained.front[members.index(member)], trained.dataset
    if dataset is None and trained.run is not None:
        dataset = prepare_export(trained.run, {})[0]
    if dataset is None:
        return dataclasses.replace(trained, model=model, threshold=None)
    threshold = fitted.threshold_of(model, trained.metric, dataset.train, trained.export.quantile)
    return dataclasses.replace(trained, model=with_metrics(model, trained.export, dataset), threshold=threshold)


def export(trained: Trained, folder: Path, variants: tuple[str, ...], force: bool) -> dict[str, Path]:
    """Write the model folder and return its files by kind; a variant that is not kept is named in a warning.

    Raises:
        DataError: there are no rows to verify the files on.
        OutputError: the folder is in use.
        SpecError: there is no such variant.
        VerifyError: a file is not the model; no folder is left.
    """
    check_free(folder, force)
    dataset, wanted = exported(trained, variants)
    model = fitted.with_threshold(trained) if trained.threshold is not None else trained.model
    package = export_model(folder.parent, model, dataset, wanted, no_poll, final=folder)
    for variant in variants:
        for why in package.missing.get(variant, ()):
            warnings.warn(why, stacklevel=4)
    return package.files


def exported(trained: Trained, variants: tuple[str, ...]) -> tuple[Dataset, Export]:
    """Return the rows of a model, and what is exported; those of a loaded run are read again.

    Raises:
        DataError: there are no rows, or they are too fine for files that take raw rows.
        SpecError: there is no such variant.
    """
    flags: dict[str, tuple[str, Any]] = {"export.variants": ("variants", list(variants))}
    if trained.dataset is None and trained.run is not None:
        return prepare_export(trained.run, flags)
    if trained.dataset is None or trained.resolved is None:
        raise DataError(
            "export: needs the rows that the model was trained on, which neither a model folder nor a pickled "
            "estimator holds; export before, or load the run folder"
        )
    resolve(flags)
    check_raw(trained.dataset, trained.resolved.spec)
    wanted = export_of(override(trained.resolved, "export.variants", variants, "variants").spec)
    wanted = dataclasses.replace(wanted, spec_hash=trained.export.spec_hash)
    in_memory = trained.resolved.spec.data.source in (SOURCE, f"interactions:{SOURCE}")
    return trained.dataset, dataclasses.replace(wanted, pca_command="") if in_memory else wanted


def check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that an export must not write to.

    Raises:
        OutputError: it is a file, the working folder, not empty without ``force``, or holds what no export wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose a folder")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise OutputError(f"{folder}: is not empty; choose another folder, or force=True to replace the model in it")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise OutputError(f"{folder}: is the working folder, or holds it; choose another folder")
    check_replaceable(standing(folder))
