"""The trip: load, evolve, choose, save, export, verify, rename into place. A run is a generator of events."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aecompress import events
from aecompress.data.dataset import Dataset, Scaling, checked, load
from aecompress.data.sources import read
from aecompress.deploy import checkpoint, graph, verify
from aecompress.deploy.checkpoint import LayerShape, Model, load_model
from aecompress.errors import AecompressError, DeviceError, Interrupted, OutputError, RunError, SpecError, VerifyError
from aecompress.evolve.canonical import canonical
from aecompress.evolve.operators import OPERATORS
from aecompress.evolve.plan import Plan, Report, Rows
from aecompress.evolve.population import Population, new_population
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import cubic
from aecompress.evolve.select import most_zeros
from aecompress.evolve.training import Training
from aecompress.nets.autoencoder import Autoencoder, build, reconstruction_loss, state_dict
from aecompress.nets.layers import Layer, forward
from aecompress.spec import Resolved, RunSpec, complete, measure_of, to_toml

MODES = {"canonical": canonical}
OURS = ("spec.toml", "run.json", "events.jsonl", "model")
"""What a run writes into its folder; the only things ``force`` removes."""
PREVIEW_ROWS = 4
PREVIEWS = 20
"""Previews over a whole run."""
DTYPES = {"float32": torch.float32, "float64": torch.float64}

Stop = Callable[[], int | None]
"""Tells the number of the signal that asks the run to stop, or None."""


@dataclass(frozen=True)
class Job:
    """A run that is known to be possible: nothing has been written yet."""

    resolved: Resolved
    dataset: Dataset
    net: Autoencoder
    device: torch.device
    folder: Path
    force: bool

    @property
    def spec(self) -> RunSpec:
        """The complete spec."""
        return self.resolved.spec


def prepare(resolved: Resolved, output: Path | None = None, force: bool = False) -> Job:
    """Read the data, complete the spec, and check everything that can be checked before the first write.

    Raises:
        AecompressError: SpecError, DataError, DeviceError or OutputError, with nothing written.
    """
    device = find_device(resolved.spec.device)
    dataset = load(resolved.spec.data, resolved.spec.seed)
    resolved = complete(resolved, dataset.facts)
    spec = resolved.spec
    net = build(spec.model, dataset.train.shape[1])
    if round(spec.prune.target_sparsity * net.model_size) > most_zeros(net):
        most = math.floor(most_zeros(net) / net.model_size * 1e4) / 1e4
        raise SpecError(
            f"prune.target_sparsity = {spec.prune.target_sparsity}: would empty a layer of this network "
            f"of {net.model_size} parameters; ask for at most {most}"
        )
    if output is None:
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", dataset.name)
        output = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; choose a folder with -o")
    if output.exists() and any(output.iterdir()) and not force:
        raise OutputError(f"{output}: is not empty; choose another folder with -o, or --force to replace the run in it")
    return Job(resolved, dataset, net, device, output, force)


def find_device(name: str) -> torch.device:
    """The device a spec names; ``auto`` is a CUDA device, else the CPU.

    Raises:
        DeviceError: it is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device = {name!r}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use; "
            "choose --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device = {name!r}: torch finds no MPS device here; choose --device cpu or auto")
    return device


def run(job: Job, stop: Stop = lambda: None) -> Iterator[events.Event]:
    """Carry the run out, yielding each event after it is in the log. Closing the generator stops the run.

    Raises:
        RunError, VerifyError, Interrupted: after the matching event.
    """
    folder = job.folder
    folder.mkdir(parents=True, exist_ok=True)
    if job.force:
        for name in OURS:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    checkpoint.write_text(folder / "spec.toml", to_toml(job.resolved))
    write_status(job, "running")
    with (folder / "events.jsonl").open("a", encoding="utf-8", buffering=1) as log:

        def said(event: events.Event) -> events.Event:
            log.write(events.to_json(event) + "\n")
            return event

        state = Progress()
        try:
            for event in trip(job, stop, state):
                yield said(event)
            write_status(job, "finished")
        except Interrupted as fault:
            write_status(job, "stopped")
            yield said(events.Stopped(time.time(), state.generation, str(fault)))
            raise
        except GeneratorExit:
            write_status(job, "stopped")
            said(events.Stopped(time.time(), state.generation, "the reader closed the run"))
            raise
        except BaseException as fault:
            write_status(job, "failed")
            message = str(fault) if isinstance(fault, AecompressError) else repr(fault)
            yield said(events.Failed(time.time(), message))
            raise


@dataclass
class Progress:
    """How far a run has come, for the event that ends it."""

    generation: int = 0


def write_status(job: Job, status: str) -> None:
    """Replace ``run.json``."""
    packages = ("aecompress", "torch", "numpy", "onnx", "onnxruntime", "safetensors")
    values = {
        "status": status,
        "seed": job.spec.seed,
        "spec_hash": job.spec.hash,
        "sources": job.resolved.sources,
        "dataset": {"name": job.dataset.name, "fingerprint": job.dataset.fingerprint},
        "device": str(job.device),
        "host": platform.node(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }
    checkpoint.write_text(job.folder / "run.json", json.dumps(values, indent=1) + "\n")


def trip(job: Job, stop: Stop, progress: Progress) -> Iterator[events.Event]:
    """The run from data to verified files, as events."""
    began = time.perf_counter()
    spec, net = job.spec, job.net
    plan, rows = plan_of(spec, net), device_rows(job)
    population = first_population(job)
    yield events.Started(
        time.time(),
        events.VERSION,
        job.folder.name,
        spec.model_dump(mode="json"),
        net.model_size,
        population.weights.shape[0],
        plan.training.generations,
        tuple(layer.name for layer in net.layers),
        {name: len(part) for name, part in job.dataset.splits.items()},
        job.dataset.row_shape,
        str(job.device),
    )

    def poll() -> None:
        signal = stop()
        if signal is not None:
            raise Interrupted(f"stopped by signal {signal} after generation {progress.generation}", signal)

    generation = MODES[spec.mode]
    while population.generation < plan.training.generations:
        start = time.perf_counter()
        population, figures = generation(plan, population, rows, poll)
        progress.generation = population.generation
        yield from generation_events(job, plan, population, figures, rows, time.perf_counter() - start)

    row = choose(population)
    tensors = {name: tensor.to("cpu", torch.float32).numpy() for name, tensor in state_dict(net, row).items()}
    metrics = final_metrics(job, row)
    model = Model(
        shapes(net.encoder),
        shapes(net.decoder),
        tensors,
        asdict(job.dataset.scaling),
        {"name": job.dataset.name, "spec_hash": spec.hash, "measure": plan.measure, "metrics": metrics},
    )
    verification, files = deliver(job, model, metrics, plan.measure)
    yield events.Verified(
        time.time(), verification.passed, verification.max_difference, verification.tolerance, len(verification.checks)
    )
    if not verification.passed:
        raise VerifyError(f"the exported model is not the trained one: {verification.first_failure}; no model was left")
    for kind, path in files.items():
        yield events.Saved(time.time(), kind, str(path.relative_to(job.folder)), path.stat().st_size)
    yield events.Finished(
        time.time(), metrics, model.sparsity, model.zeros, model.parameters, time.perf_counter() - began
    )


def plan_of(spec: RunSpec, net: Autoencoder) -> Plan:
    """The evolution that a complete spec asks for."""
    train, generations = spec.train, int(spec.train.epochs)
    pruning = None
    if spec.prune.operator != "none":
        pruning = Pruning(
            OPERATORS[spec.prune.operator],
            spec.prune.target_sparsity,
            cubic(spec.prune.start, spec.prune.end),
            int(spec.prune.per_generation),
        )
    training = Training(
        seed=spec.seed,
        generations=generations,
        batch=int(train.batch),
        loss=loss_of(train.loss, round(train.bce_share * generations)),
        optimizer="adam",
        betas=train.betas,
        rate=warmup_cosine(train.warmup),
        lasting_masks=pruning is not None,
        noise="none",
        noise_level=0.0,
    )
    return Plan(net, training, pruning, measure_of(train.loss))


def loss_of(name: str, switch: int) -> Callable[[int], str]:
    """The training loss by generation; bce-then-l1 changes over at generation ``switch``."""
    if name == "bce-then-l1":
        return lambda generation: "bce" if generation < switch else "l1"
    return lambda generation: name


def warmup_cosine(warmup: float) -> Callable[[float], float]:
    """A linear rise over the first ``warmup`` of the run, then half a cosine down to 0."""

    def rate(progress: float) -> float:
        if progress < warmup:
            return (progress + 1e-4) / (warmup + 1e-4)
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))

    return rate


def device_rows(job: Job) -> Rows:
    """Training and validation rows on the device, moved there once."""
    dtype = DTYPES[job.spec.precision]
    train = torch.from_numpy(job.dataset.train).to(job.device, dtype)
    validation = torch.from_numpy(job.dataset.validation).to(job.device, dtype)
    return Rows(train, validation if len(validation) else train)


def first_population(job: Job) -> Population:
    """The individuals before generation 0."""
    rate = float(job.spec.train.learning_rate)
    population = new_population(job.net, 1, job.spec.seed, rate, True, job.device)
    return population.to(DTYPES[job.spec.precision])


def choose(population: Population) -> torch.Tensor:
    """The parameters ``[n]`` of the individual with the lowest validation loss.

    Raises:
        RunError: no individual has a finite loss.
    """
    best = int(population.fitness.argmin())
    if not math.isfinite(float(population.fitness[best])):
        raise RunError(
            "every cell's loss became infinite or not a number; lower train.learning_rate (--lr) and run again"
        )
    return population.weights[best]


def generation_events(
    job: Job, plan: Plan, population: Population, figures: Report, rows: Rows, seconds: float
) -> Iterator[events.Event]:
    """A completed generation as events; the one place where a generation's tensors are read."""
    now, number, net = time.time(), population.generation, job.net
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
        figures.asked,
        sum(sparsity) / len(sparsity),
        seconds,
    )
    names = tuple(layer.name for layer in net.layers)
    yield events.LayerSparsity(
        now, number, names, tuple(tuple(z / n for z, n in zip(row, sizes, strict=True)) for row in zeros)
    )
    if figures.pruned:
        yield events.Pruned(now, number, tuple(range(len(zeros))), tuple(sum(row) for row in zeros))
    last = number == plan.training.generations
    if last or number % max(1, plan.training.generations // PREVIEWS) == 0:
        best = int(population.fitness.argmin())
        shown = rows.validation[:PREVIEW_ROWS]
        weights = net.layout.views(population.weights[best : best + 1])
        out = forward(net.layers, weights, shown[None]).out[-1][0]
        yield events.Preview(now, number, best, rounded(shown), rounded(out))


def rounded(values: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    """Rows at the three decimals a picture needs."""
    return tuple(tuple(round(value, 3) for value in row) for row in values.tolist())


def final_metrics(job: Job, row: torch.Tensor) -> dict[str, float]:
    """``<split>_<measure>`` over all rows of every split, of the float32 weights that are exported."""
    weights = job.net.layout.views(row[None].float())
    measures = ["l1", "mse"] + (["bce"] if job.spec.train.loss in ("bce", "bce-then-l1") else [])
    if job.spec.train.loss == "huber":
        measures.append("huber")
    result = {}
    for split, part in job.dataset.splits.items():
        rows = torch.from_numpy(part).to(row.device)
        for measure in measures:
            result[f"{split}_{measure}"] = float(reconstruction_loss(job.net, weights, rows, measure)[0])
    return result


def shapes(layers: tuple[Layer, ...]) -> tuple[LayerShape, ...]:
    """Layers as the deploy side knows them."""
    return tuple(LayerShape(layer.name, layer.inputs, layer.outputs, layer.activation) for layer in layers)


def deliver(
    job: Job, model: Model, metrics: dict[str, float], measure: str
) -> tuple[verify.Verification, dict[str, Path]]:
    """Write the model folder under a temporary name, verify it, and rename it into place only if it passed."""
    temporary, final = job.folder / ".model.part", job.folder / "model"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    split = next(name for name in ("test", "validation", "train") if name in job.dataset.splits)
    rows = job.dataset.splits[split]
    checkpoint.save_model(temporary, model)
    kept = job.spec.export.rows
    if kept:
        checkpoint.save_rows(temporary / "rows.safetensors", rows[:kept])
    about = {
        "aecompress.version": metadata.version("aecompress"),
        "aecompress.spec_hash": job.spec.hash,
        "aecompress.sparsity": f"{model.sparsity:.6f}",
    }
    for part, proto in graph.build_all(model, job.spec.export.opset, about).items():
        checkpoint.write_bytes(temporary / f"{part}.onnx", proto.SerializeToString(deterministic=True))
    losses = {measure: metrics[f"{split}_{measure}"]}
    export = job.spec.export
    verification = verify.verify_set(temporary, model, rows, export.tolerance, losses, export.loss_tolerance)
    text = json.dumps(verification.to_json(), indent=1) + "\n"
    if not verification.passed:
        checkpoint.write_text(job.folder / "verification-failed.json", text)
        shutil.rmtree(temporary)
        return verification, {}
    checkpoint.write_text(temporary / "verification.json", text)
    checkpoint.write_text(temporary / "README.md", model_card(job, model, verification, metrics))
    temporary.replace(final)
    kinds = {
        "config": "config.json",
        "weights": "model.safetensors",
        "rows": "rows.safetensors",
        "encoder": "encoder.onnx",
        "decoder": "decoder.onnx",
        "autoencoder": "autoencoder.onnx",
        "verification": "verification.json",
        "card": "README.md",
    }
    return verification, {kind: final / name for kind, name in kinds.items() if (final / name).exists()}


def model_card(job: Job, model: Model, verification: verify.Verification, metrics: dict[str, float]) -> str:
    """The model's README: what it is, what it scores, how to run it."""
    sizes = [model.layers[0].inputs, *(layer.outputs for layer in model.layers)]
    lines = [
        f"# Autoencoder {'-'.join(map(str, sizes))} for {job.dataset.name}",
        "",
        f"{model.zeros:,} of {model.parameters:,} weights and biases are zero ({model.sparsity:.2%}). "
        f"The ONNX files agree with the trained weights to {verification.max_difference:.1e} "
        f"({len(verification.checks)} checks in verification.json).",
        "",
        "| split | " + " | ".join(dict.fromkeys(key.split("_")[1] for key in metrics)) + " |",
        "|---|" + "---|" * len(dict.fromkeys(key.split("_")[1] for key in metrics)),
    ]
    for split in job.dataset.splits:
        values = [f"{value:.6f}" for key, value in metrics.items() if key.startswith(split + "_")]
        lines.append(f"| {split} | " + " | ".join(values) + " |")
    lines += [
        "",
        "Inputs are rows scaled as config.json says: (raw - offset) / divisor. `input` -> `latent` (encoder.onnx), "
        "`latent` -> `reconstruction` (decoder.onnx), `input` -> `reconstruction` (autoencoder.onnx); any batch size.",
        "",
        f"Made with aecompress {metadata.version('aecompress')}, spec {job.spec.hash}, seed {job.spec.seed}.",
    ]
    return "\n".join(lines) + "\n"


def rows_for_model(source: str, folder: Path) -> NDArray[np.float32]:
    """Raw rows read from ``source`` and scaled as the model in ``folder`` was trained: ``[N, D]``."""
    rows = checked(source, read(source).train)
    scaling = Scaling(**load_model(folder).scaling)
    return scaling.apply(rows.reshape(len(rows), -1))
