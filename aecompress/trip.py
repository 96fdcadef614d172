"""The trip: load, evolve, choose, save, export, verify, rename into place. A run is a generator of events."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress import events, folder, front
from aecompress.assembly import (
    budgets_of,
    cells_of,
    check_half,
    check_memory,
    engine_of,
    find_device,
    first_population,
    make_ready,
    on_device,
    plan_of,
    rows_of,
    settle_budgets,
    settle_compile,
    settle_limit,
    threads_for,
)
from aecompress.data.dataset import Dataset, Scaling, checked, load
from aecompress.data.interactions import SparseRows, few
from aecompress.data.sources import STDIN, read, read_array
from aecompress.deploy import checkpoint, foreign
from aecompress.deploy.checkpoint import LayerShape, Model, load_model
from aecompress.deploy.foreign import Foreign
from aecompress.errors import AecompressError, DataError, Interrupted, RunError, SpecError, VerifyError
from aecompress.evolve.archive import Archive, archive
from aecompress.evolve.canonical import canonical
from aecompress.evolve.coevolution import coevolution
from aecompress.evolve.plan import Engine, Plan, Report, Rows, asked, layer_zeros, measured
from aecompress.evolve.population import Population, load_tensors
from aecompress.evolve.workers import no_denormals
from aecompress.handover import (
    VERIFIED,
    Handed,
    detection,
    file_bytes,
    hand_over,
    over_budget,
    split_of,
    within_budget,
)
from aecompress.nets.autoencoder import Autoencoder, build, reconstruction_loss, state_dict
from aecompress.nets.foreign import read_state_dict
from aecompress.nets.layers import Layer, forward
from aecompress.nets.losses import LOSSES
from aecompress.ranking import ranking
from aecompress.recipe import complete
from aecompress.spec import Resolved, RunSpec, measure_of, override, resolve, to_toml
from aecompress.steering import new_folder, read_status

MODES = {"canonical": canonical, "coevo": coevolution}
PREVIEW_ROWS = 4
PREVIEW_INPUTS = 20_000
"""Wider rows are not shown: their pictures would fill the log."""
PREVIEWS = 20
"""Previews over a whole run."""

Stop = Callable[[], int | None]
"""Tells the number of the signal that asks the run to stop, or None."""


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
    """What relative paths of the spec start from."""
    resumed: bool = False
    init: Mapping[str, NDArray[np.float32]] | None = None
    """Tensors of the model to start from, by torch's names."""

    @property
    def spec(self) -> RunSpec:
        """The complete spec."""
        return self.resolved.spec

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        return {"spec_hash": self.spec.hash, "fingerprint": self.dataset.fingerprint}


def prepare(resolved: Resolved, output: Path | None = None, force: bool = False) -> Job:
    """Read the data, complete the spec, and check everything that can be checked before the first write.

    Raises:
        AecompressError: SpecError, DataError, DeviceError or OutputError, with nothing written.
    """
    if output is not None:
        folder.check_output(output, force)
    device = find_device(resolved.spec.device)
    dataset = load(resolved.spec.data, resolved.spec.seed)
    if output is None:
        output = new_folder(dataset.name)
        folder.check_output(output, force)
    return _job(resolved, dataset, device, output, Path.cwd())


def prepare_resume(where: Path) -> Job:
    """A job that goes on with the run in ``where``.

    Raises:
        AecompressError: there is no such run, or its data are gone or have changed.
    """
    status = read_status(where)
    resolved = resolve(file=where / "spec.toml")
    resolved = Resolved(resolved.spec, dict(status.get("sources", resolved.sources)))
    device = find_device(resolved.spec.device)
    stdin = read_array(where / "data.npy") if resolved.spec.data.source == STDIN else None
    directory = Path(str(status.get("directory", "")))
    dataset = load(resolved.spec.data, resolved.spec.seed, stdin, directory)
    if dataset.fingerprint != status["dataset"]["fingerprint"]:
        raise DataError(
            f"{resolved.spec.data.source}: its rows are not those the run in {where} began with; restore them"
        )
    return _job(resolved, dataset, device, where, directory, resumed=True)


def _job(
    resolved: Resolved,
    dataset: Dataset,
    device: torch.device,
    where: Path,
    directory: Path,
    resumed: bool = False,
) -> Job:
    init = None
    if resolved.spec.model.init:
        found = read_model(directory / resolved.spec.model.init)
        resolved, init = taken_over(resolved, found, dataset), found.tensors
    resolved = complete(resolved, dataset.facts)
    net = build(resolved.spec.model, dataset.train.shape[1])
    resolved = within_budget(resolved, net, shapes(net.encoder), shapes(net.decoder))
    resolved = settle_budgets(resolved, net)
    resolved = settle_limit(resolved, dataset.splits)
    resolved = settle_compile(resolved, net, device, len(dataset.train))
    check_half(resolved.spec, device)
    plan = plan_of(resolved.spec, net, device, engine_of(resolved.spec, net, device))
    check_memory(plan, resolved.spec, dataset, device)
    return Job(resolved, dataset, net, plan, device, where, directory, resumed, init)


def read_model(path: Path) -> Foreign:
    """A model trained elsewhere, told apart by the file's ending.

    Raises:
        DataError: it is not there, or no chain of linear layers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check model.init (--init)")
    if path.suffix == ".safetensors":
        return foreign.from_safetensors(path)
    if path.suffix == ".onnx":
        return foreign.from_onnx(path)
    if path.suffix in (".pt", ".pth", ".bin"):
        return foreign.from_tensors(path, read_state_dict(path))
    raise DataError(f"{path}: is not a model; model.init (--init) takes .safetensors, .pt, .pth, .bin and .onnx")


def taken_over(resolved: Resolved, found: Foreign, dataset: Dataset) -> Resolved:
    """The spec with the layers of a model that was trained elsewhere, activations that it does not say from the spec.

    Raises:
        DataError, SpecError: it does not fit the rows, or the spec asks for other layers.
    """
    model, source = resolved.spec.model, f"--init {resolved.spec.model.init}"
    if model.family == "variational":
        raise SpecError("model.init: brings no variance head; choose model.family = 'plain' or 'denoising'")
    inputs = dataset.train.shape[1]
    if found.encoder[0].inputs != inputs:
        raise DataError(f"{model.init}: takes {found.encoder[0].inputs} inputs, the rows have {inputs}; give its rows")
    ends = {
        "encoder": "identity" if model.latent_activation == "auto" else model.latent_activation,
        "decoder": ("sigmoid" if dataset.facts.unit else "identity") if model.output == "auto" else model.output,
    }
    values = {}
    for part, layers in (("encoder", found.encoder), ("decoder", found.decoder)):
        values[f"model.{part}"] = [
            {
                "out": layer.outputs,
                "activation": layer.activation or (ends[part] if layer is layers[-1] else model.activation),
            }
            for layer in layers
        ]
        asked = [layer.model_dump() for layer in getattr(model, part)]
        if asked and asked != values[f"model.{part}"]:
            raise SpecError(f"model.{part}: {model.init} has other layers ({values[f'model.{part}']}); leave it out")
    if (model.hidden, model.latent) != ("auto", "auto"):
        raise SpecError("model.hidden and model.latent: come from model.init; leave them out")
    for path, value in values.items():
        resolved = override(resolved, path, value, source)
    return resolved


@dataclass
class Progress:
    """How far a run has come: what a stop saves and says."""

    population: Population | None = None
    saved: int = -1
    """Generation of the last checkpoint."""
    pending: list[events.Event] = field(default_factory=list)
    """Said between two yields, for example by a pause."""


def run(job: Job, stop: Stop = lambda: None) -> Generator[events.Event, None, None]:
    """Carry the run out, yielding each event after it is in the log. Closing the generator stops the run.

    Raises:
        RunError, VerifyError, Interrupted: after the matching event.
    """
    where = job.folder
    if not job.resumed:
        folder.begin(where, to_toml(job.resolved))
        if job.dataset.stdin is not None:
            checkpoint.write_array(where / "data.npy", job.dataset.stdin)
    about = {
        "seed": job.spec.seed,
        "spec_hash": job.spec.hash,
        "sources": job.resolved.sources,
        "dataset": {"name": job.dataset.name, "fingerprint": job.dataset.fingerprint},
        "device": str(job.device),
        "directory": str(job.directory),
    }
    folder.write_status(where, "running", about)
    (where / "control").unlink(missing_ok=True)
    with folder.open_log(where) as log:

        def said(event: events.Event) -> events.Event:
            log.write(events.to_json(event) + "\n")
            return event

        progress, done = Progress(), False
        threads = torch.get_num_threads()
        torch.set_num_threads(threads_for(job.plan, cells_of(job.spec), job.device))
        control = folder.Control(where, stop, lambda event: progress.pending.append(said(event)))
        try:
            for event in trip(job, control, progress):
                yield from progress.pending
                progress.pending.clear()
                said(event)
                done = isinstance(event, events.Finished)
                if done:
                    folder.write_status(where, "finished", about)
                yield event
        except (Interrupted, KeyboardInterrupt, GeneratorExit) as fault:
            if not done:
                keep(job, progress)
                folder.write_status(where, "stopped", about)
                closed = isinstance(fault, GeneratorExit)
                reason = "the reader closed the run" if closed else str(fault) or "interrupted"
                stopped = said(events.Stopped(time.time(), control.generation, reason))
                if isinstance(fault, Interrupted):
                    yield stopped
            raise
        except BaseException as fault:
            folder.write_status(where, "failed", about)
            known = fault
            if out_of_memory(fault):
                known = RunError(f"memory ran out ({fault}); ask for smaller layers, fewer cells or fewer rows")
            yield said(events.Failed(time.time(), str(known) if isinstance(known, AecompressError) else repr(known)))
            raise known from (None if known is fault else fault)
        finally:
            torch.set_num_threads(threads)


def out_of_memory(fault: BaseException) -> bool:
    """Whether an allocation failed; torch says so on the CPU with a bare RuntimeError."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(fault)


def keep(job: Job, progress: Progress) -> Path | None:
    """Write the last completed generation to disk, unless it is there; the path written."""
    population = progress.population
    if population is None or progress.saved == population.generation:
        return None
    tensors = {name: tensor.cpu().numpy() for name, tensor in population.tensors().items()}
    path = checkpoint.save_state(job.folder / "checkpoint", population.generation, tensors, job.identity)
    progress.saved = population.generation
    return path


def trip(job: Job, control: folder.Control, progress: Progress) -> Iterator[events.Event]:
    """The run from data to verified files, as events."""
    began = time.perf_counter()
    spent: defaultdict[str, float] = defaultdict(float)
    plan = dataclasses.replace(job.plan, engine=timed(job.plan.engine, spent))
    rows = rows_of(job.spec, job.dataset, job.device)
    population = first_population(job.spec, job.net, job.dataset, job.device, job.init)
    if job.resumed:
        generation, arrays, notes = checkpoint.load_state(job.folder / "checkpoint", job.identity)
        if arrays:
            load_tensors(population, {name: torch.from_numpy(a) for name, a in arrays.items()}, generation)
        progress.saved = control.generation = generation
        yield events.Resumed(time.time(), generation, "; ".join(notes))
    if not job.resumed or not has_started(job.folder):
        yield started(job)
    progress.population = population

    make_ready(plan, control.poll)
    evolve = MODES[job.spec.mode]
    spent["setting up"] = time.perf_counter() - began
    while population.generation < plan.training.generations:
        start = time.perf_counter()
        with no_denormals():
            population, figures = evolve(plan, population, rows, control.poll)
        progress.population, control.generation = population, population.generation
        seconds = time.perf_counter() - start
        spent["evolving"] += seconds
        start = time.perf_counter()
        yield from generation_events(job, population, figures, rows, seconds)
        spent["events"] += time.perf_counter() - start
        if population.generation % job.spec.checkpoint_every == 0 or population.generation == plan.training.generations:
            start = time.perf_counter()
            path = keep(job, progress)
            assert path is not None
            spent["checkpoints"] += time.perf_counter() - start
            yield events.Checkpoint(time.time(), population.generation, str(path.relative_to(job.folder)))

    start = time.perf_counter()
    with no_denormals():
        found = archive(job.plan, population, rows, control.poll)
    spent["filling the front"] = time.perf_counter() - start
    start = time.perf_counter()
    yield events.Front(time.time(), tuple(found.cells), tuple(found.losses), tuple(found.nonzeros))
    if plan.ring is not None and plan.ring.dominance:
        front.save(job.folder, front_models(job, found, control.poll))
    chosen = choose(job, population, found)
    row = found.members.weights[chosen]
    metrics = final_metrics(job.net, job.dataset, job.spec, row, control.poll)
    metrics |= cell_metrics(job, population, rows, found.members.pick(torch.tensor([chosen])), control.poll)
    metrics |= against_dense(job, population, metrics, control.poll)
    model = model_of(job, row, {"metrics": metrics})
    metrics |= detection(model, job.dataset, plan.measure)
    handed = hand_over(job.folder, model, job.dataset, job.spec, control.poll)
    verification = handed.verification
    yield events.Verified(
        time.time(),
        verification.passed,
        verification.max_difference,
        verification.tolerance,
        len(verification.checks),
    )
    if not verification.passed:
        raise unverified(handed)
    for kind, path in handed.files.items():
        yield events.Saved(time.time(), kind, str(path.relative_to(job.folder)), path.stat().st_size)
    assert handed.compared is not None
    yield handed.compared
    over = over_budget(job.spec, model, handed)
    if over:
        raise RunError(f"{over}; the model is in {job.folder / 'model'} all the same")
    spent["saving, exporting, verifying"] = time.perf_counter() - start
    spent["selecting and pruning"] = spent.pop("evolving", 0.0) - spent["training"] - spent["measuring"]
    yield events.Profiled(time.time(), dict(spent))
    seconds = time.perf_counter() - began
    yield events.Finished(time.time(), metrics, model.sparsity, model.zeros, model.parameters, seconds)


def timed(engine: Engine, spent: defaultdict[str, float]) -> Engine:
    """The engine with the time of its training and measuring added to ``spent``; on a GPU that of starting them.

    Time in which several cores train counts once.
    """

    lock, inside, since = threading.Lock(), Counter[str](), dict[str, float]()

    def clocked(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with lock:
                if not inside[what]:
                    since[what] = time.perf_counter()
                inside[what] += 1
            try:
                return function(*arguments)
            finally:
                with lock:
                    inside[what] -= 1
                    if not inside[what]:
                        spent[what] += time.perf_counter() - since[what]

        return call

    train, measure = clocked("training", engine.train), clocked("measuring", engine.measure)
    together = clocked("training", engine.together)
    return dataclasses.replace(engine, train=train, measure=measure, together=together)


def has_started(where: Path) -> bool:
    """Whether the log says that the run began; a kill may have come before."""
    return any(isinstance(event, events.Started) for event in events.read_log(where / "events.jsonl"))


def started(job: Job) -> events.Started:
    """The first event of a run."""
    return events.Started(
        time.time(),
        events.VERSION,
        job.folder.name,
        job.spec.model_dump(mode="json"),
        job.net.model_size,
        cells_of(job.spec),
        job.plan.training.generations,
        tuple(layer.name for layer in job.net.layers),
        {name: len(part) for name, part in job.dataset.splits.items()},
        job.dataset.row_shape,
        str(job.device),
        f"{job.plan.engine.name} ({job.resolved.sources['compile']})",
    )


def best_cell(job: Job, population: Population) -> int:
    """The cell with the lowest validation loss of those that are to become as sparse as asked, or sparser.

    Raises:
        RunError: no individual has a finite loss.
    """
    target = float(job.spec.prune.target_sparsity)
    able = [cell for cell, budget in enumerate(budgets_of(job.spec)) if budget >= target]
    fitness = population.fitness.tolist()
    best = min(able, key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        best = min(range(len(fitness)), key=lambda cell: fitness[cell])
    if not math.isfinite(fitness[best]):
        raise RunError("every cell's loss is infinite or not a number; lower train.learning_rate (--lr) and run again")
    return best


def choose(job: Job, population: Population, found: Archive) -> int:
    """Which pair of the archive is handed over: the lowest validation loss with the zeros asked for.

    Under a largest loss increase only pairs that keep to it count, and without a least sparsity it is the sparsest of
    them.

    Raises:
        RunError: there is none.
    """
    best_cell(job, population)  # says so where every cell is lost
    spec, size = job.spec, job.net.model_size
    target, limit = float(spec.prune.target_sparsity) if spec.prune.drive == "target" else 0.0, math.inf
    if spec.budget.max_loss_increase:
        limit = (1 + spec.budget.max_loss_increase) * reference_loss(job, population)
        target = float(spec.budget.min_sparsity)
    most = min(size - round(target * size), size - 1) if limit < math.inf else size - round(target * size)
    good = [at for at, loss in enumerate(found.losses) if found.nonzeros[at] <= most and loss <= limit]
    if good and limit < math.inf and not target:
        return good[0]
    if good:
        return min(good, key=lambda at: found.losses[at])
    sparse = [at for at in range(len(found.losses)) if found.nonzeros[at] <= most]
    if limit < math.inf and sparse:
        rise = min(found.losses[at] for at in sparse) / reference_loss(job, population) - 1
        which = f" with {target:.1%} zeros or more" if target else ""
        raise RunError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: the best pair{which} lies {rise:.1%} above "
            "the dense model; allow more, ask for fewer zeros, or train longer"
        )
    raise RunError(f"no cell with {target:.1%} zeros has a finite loss; lower train.learning_rate (--lr) and run again")


def reference_loss(job: Job, population: Population) -> float:
    """Validation loss of the dense cell."""
    return float(population.fitness[budgets_of(job.spec).index(0.0)])


def generation_events(
    job: Job, population: Population, figures: Report, rows: Rows, seconds: float
) -> Iterator[events.Event]:
    """A completed generation as events; the one place where a generation's tensors are read.

    Raises:
        RunError: every cell is lost.
    """
    now, number, net, plan = time.time(), population.generation, job.net, job.plan
    zeros = figures.layer_zeros.tolist()
    sizes = [(layer.inputs + 1) * layer.outputs for layer in net.layers]
    sparsity = [sum(row) / net.model_size for row in zeros]
    yield events.Generation(
        now,
        number,
        plan.measure,
        tuple(figures.train_loss.tolist()),
        tuple(figures.validation_loss.tolist()),
        tuple(sparsity),
        tuple(population.learning_rate.tolist()),
        tuple(figures.parents.tolist()),
        tuple(figures.order),
        tuple(population.capacity.tolist()),
        asked(plan, number),
        sum(sparsity) / len(sparsity),
        seconds,
    )
    names = tuple(layer.name for layer in net.layers)
    yield events.LayerSparsity(
        now, number, names, tuple(tuple(z / n for z, n in zip(row, sizes, strict=True)) for row in zeros)
    )
    cut = [cell for cell, pruned in enumerate(figures.pruned) if pruned]
    if cut:
        yield events.Pruned(now, number, tuple(cut), tuple(sum(zeros[cell]) for cell in cut))
    best = best_cell(job, population)
    if net.layers[0].inputs <= PREVIEW_INPUTS and (
        number == plan.training.generations or number % max(1, plan.training.generations // PREVIEWS) == 0
    ):
        shown = rows.validation[:PREVIEW_ROWS]
        weights = net.layout.views(population.weights[best : best + 1])
        out = forward(net.layers, weights, shown[None]).out[-1][0]
        errors = tuple(LOSSES[plan.measure].value(out, shown).mean(1).tolist())
        yield events.Preview(now, number, best, rounded(shown), rounded(out), errors)


def rounded(values: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    """Rows at the three decimals a picture needs."""
    return tuple(tuple(round(value, 3) for value in row) for row in values.tolist())


def model_of(job: Job, row: torch.Tensor, about: dict[str, Any]) -> Model:
    """The individual with the parameters ``row`` ``[n]`` as the deploy side knows it."""
    return Model(
        shapes(job.net.encoder),
        shapes(job.net.decoder),
        {name: tensor.to("cpu", torch.float32).numpy() for name, tensor in state_dict(job.net, row).items()},
        asdict(job.dataset.scaling),
        {"name": job.dataset.name, "spec_hash": job.spec.hash, "measure": job.plan.measure} | about,
    )


def front_models(job: Job, found: Archive, poll: Callable[[], None]) -> list[Model]:
    """The archive's pairs with their losses on validation and test rows."""
    losses = {"validation" if "validation" in job.dataset.splits else "train": found.losses}
    if "test" in job.dataset.splits:
        test = on_device(job.dataset.test, job.device, found.members.weights.dtype)
        losses["test"] = measured(job.net, found.members.weights, [test], job.plan.measure, poll).losses[0].tolist()
    return [
        model_of(job, row, {"losses": {split: values[at] for split, values in losses.items()}})
        for at, row in enumerate(found.members.weights)
    ]


def against_dense(
    job: Job, population: Population, metrics: Mapping[str, float], poll: Callable[[], None]
) -> dict[str, float]:
    """How far the reported loss lies above that of the run's dense cell, as a share, where a limit was set."""
    if not job.spec.budget.max_loss_increase:
        return {}
    row, measure = population.weights[budgets_of(job.spec).index(0.0)], job.plan.measure
    dense = final_metrics(job.net, job.dataset, job.spec, row, poll)
    splits = [split for split in ("validation", "test") if split in job.dataset.splits]
    return {
        f"{split}_loss_increase": metrics[f"{split}_{measure}"] / dense[f"{split}_{measure}"] - 1 for split in splits
    }


def final_metrics(
    net: Autoencoder, dataset: Dataset, spec: RunSpec, row: torch.Tensor, poll: Callable[[], None]
) -> dict[str, float]:
    """``<split>_<measure>`` over all rows of every split, of the float32 weights that are exported."""
    weights = net.layout.views(row[None].float())
    measures = ["l1", "mse"] + (["bce"] if spec.train.loss in ("bce", "bce-then-l1") else [])
    if spec.train.loss == "huber":
        measures.append("huber")
    result = {}
    for split, part in dataset.splits.items():
        rows = on_device(part, row.device, torch.float32)
        for measure in measures:
            result[f"{split}_{measure}"] = float(reconstruction_loss(net, weights, rows, measure, poll)[0])
    if isinstance(dataset.test, SparseRows):
        part = few(dataset.splits[split_of(dataset)])
        seen, measure = torch.from_numpy(part).to(row.device), measure_of(spec.train.loss)
        result[f"{VERIFIED}_{measure}"] = float(reconstruction_loss(net, weights, seen, measure, poll)[0])
        scores = ranking(net, weights, dataset.test, spec.seed, poll)
        result |= {f"test_{name}": value for name, value in scores.items()}
    return result


def cell_metrics(
    job: Job, population: Population, rows: Rows, chosen: Population, poll: Callable[[], None]
) -> dict[str, float]:
    """Both counts of ALGORITHMS A7, for the chosen individual and, in a ring, for the cells; and the cells' losses.

    ``capacity`` is the share of the parameters not zero at the last prune, ``nonzero`` the share not zero now.
    """
    nonzero = 1 - layer_zeros(job.net, population.weights).sum(1) / job.net.model_size
    zeros = int(layer_zeros(job.net, chosen.weights).sum())
    counts = {"capacity": float(chosen.capacity[0]), "nonzero": 1 - zeros / job.net.model_size}
    if job.spec.mode != "coevo":
        return counts
    losses = measured(job.net, population.weights, [rows.train], job.plan.measure, poll).losses[0]
    losses = losses[losses.isfinite()]
    if not len(losses):
        return counts
    name = f"train_{job.plan.measure}_cells"
    return counts | {
        name: float(losses.mean()),
        name + "_median": float(losses.quantile(0.5)),
        "capacity_cells": float(population.capacity.mean()),
        "nonzero_cells": float(nonzero.mean()),
    }


def shapes(layers: tuple[Layer, ...]) -> tuple[LayerShape, ...]:
    """Layers as the deploy side knows them."""
    return tuple(LayerShape(layer.name, layer.inputs, layer.outputs, layer.activation) for layer in layers)


def export_again(
    where: Path, flags: dict[str, tuple[str, Any]], output: Path | None, dense: bool, pick: str | None = None
) -> Handed:
    """Make the model files of a finished run again from its weights and rows.

    Args:
        pick: which member of the run's front (:func:`aecompress.front.pick`); None: the model that the run chose.
        flags: dotted path -> (the flag as the user wrote it, text) of export fields.
        output: the model folder; None: that of the run, or of the member.
        dense: leave all layers as large as they were trained.

    Raises:
        AecompressError: the run has no model, a flag is wrong, the rows are gone, or a file does not verify.
    """
    status = read_status(where)
    resolved = resolve(flags, file=where / "spec.toml")
    spec = resolved.spec
    if output is not None:
        folder.check_output(output, False)
    stdin = read_array(where / "data.npy") if spec.data.source == STDIN else None
    dataset = load(spec.data, spec.seed, stdin, Path(str(status.get("directory", ""))))
    if dataset.fingerprint != status["dataset"]["fingerprint"]:
        raise DataError(f"{spec.data.source}: its rows are not those the run in {where} was made with; restore them")
    if pick is not None:
        handed = hand_over_picked(where, pick, spec, dataset, output, dense)
    else:
        handed = hand_over(where, load_model(where / "model"), dataset, spec, lambda: None, output, not dense)
    if not handed.verification.passed:
        raise unverified(handed)
    return handed


def hand_over_picked(
    where: Path, asked: str, spec: RunSpec, dataset: Dataset, output: Path | None, dense: bool
) -> Handed:
    """Hand over the member of a run's front that ``asked`` names; a limit of bytes holds for the file written."""
    kind, value = front.parsed(asked)
    members, most = front.load(where), value if kind == "bytes" else math.inf
    known: dict[Path, int] = {}

    def size_of(member: front.Member) -> int:
        if member.path not in known:
            model = load_model(member.path)
            known[member.path] = file_bytes(model.layers, model.tensors, spec.export)
        return known[member.path]

    while True:
        member = front.pick(members, asked, size_of)
        model = with_metrics(load_model(member.path), spec, dataset)
        handed = hand_over(where, model, dataset, spec, lambda: None, output or member.path, not dense, most)
        if not handed.verification.passed or handed.smallest <= most:
            return handed
        known[member.path] = handed.smallest  # more than was estimated: another member, or none


def with_metrics(model: Model, spec: RunSpec, dataset: Dataset) -> Model:
    """A member of the front with the metrics of a model that is handed over."""
    net = build(spec.model, dataset.train.shape[1])
    row = torch.cat([torch.from_numpy(np.array(model.tensors[name].T)).reshape(-1) for name in net.model_layout.slots])
    metrics = final_metrics(net, dataset, spec, row, lambda: None)
    metrics |= detection(model, dataset, measure_of(spec.train.loss))
    return dataclasses.replace(model, about={**model.about, "metrics": metrics})


def unverified(handed: Handed) -> VerifyError:
    """What a run says whose files are wrong."""
    fault = handed.verification.first_failure
    return VerifyError(f"the exported model is not the trained one: {fault}; no model was left")


def rows_for_model(source: str, folder: Path, columns: str = "") -> NDArray[np.float32]:
    """Raw rows read from ``source`` and scaled as the model in ``folder`` was trained: ``[N, D]``."""
    rows = checked(source, read(source, columns=columns).train)
    model = load_model(folder)
    flat, inputs = rows.reshape(len(rows), -1), model.encoder[0].inputs
    if flat.shape[1] != inputs:
        raise DataError(f"{source}: has {flat.shape[1]} inputs, the model in {folder} {inputs}; give its rows")
    return Scaling(**model.scaling).apply(flat)
