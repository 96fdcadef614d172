"""The model folder: ``config.json`` and ``model.safetensors``, readable with numpy and safetensors alone."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from aecompress.digests import check_files, check_listed, check_seal, sealed, write_sums
from aecompress.errors import CONTROL, DataError, SpecError
from aecompress.files import open_own, read_own, standing, whole, write_bytes, write_text
from aecompress.layers.base import BoundLayer, Shape, bind
from aecompress.layers.kinds import from_json, to_json
from aecompress.parsing import parse_json, quoted

Floats = NDArray[np.float32]
FORMAT = 1
"""Version of the model folder; raised when an older reader would go wrong."""
STATES_KEPT = 2
STATE_TYPES = {"<f4": "F32", "<f8": "F64", "|b1": "BOOL", "<i8": "I64", "<i4": "I32"}
"""Number formats of a state, by NumPy's names, as safetensors calls them."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One trained autoencoder: layers in order, tensors by name, weights ``[fan_in, columns]``.

    Files have them under the same names in torch's layout: :func:`torch_tensors`.
    """

    encoder: tuple[BoundLayer, ...]
    decoder: tuple[BoundLayer, ...]
    tensors: Mapping[str, Floats]
    scaling: Mapping[str, Any]
    about: Mapping[str, Any]
    """Where it comes from: name, spec hash, metric, losses."""

    @property
    def layers(self) -> tuple[BoundLayer, ...]:
        """Return encoder, then decoder."""
        return self.encoder + self.decoder

    @property
    def shape(self) -> Shape:
        """Return the shape of a row as the first layer is given it."""
        return self.encoder[0].given

    @property
    def inputs(self) -> int:
        """Return the number of values of a row, D."""
        return math.prod(self.shape)

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases of both networks."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def zeros(self) -> int:
        """Return how many of them are exactly zero."""
        return sum(int(tensor.size - np.count_nonzero(tensor)) for tensor in self.tensors.values())

    @property
    def sparsity(self) -> float:
        """Return the share of all weights and biases that are exactly zero."""
        return self.zeros / self.parameters


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array as ``.npy``, under a temporary name first."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def pack(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a safetensors file. One metadata key holds everything, so equal models give equal bytes."""
    text = json.dumps(metadata, sort_keys=True)
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}, {"aecompress": text}
    )


def unpack(path: Path) -> dict[str, Floats]:
    """Return the tensors of a safetensors file.

    Raises:
        DataError: missing, truncated, not safetensors, or not a file.
    """
    try:
        open_own(path).close()  # the library would wait for a pipe
        return dict(safetensors.numpy.load_file(path))
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); make it again") from fault
    except (SafetensorError, AttributeError, TypeError, ValueError, KeyError) as fault:
        raise DataError(f"{path}: cannot be read as safetensors ({fault}); make it again") from fault


def save_model(folder: Path, model: Model) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``folder``, and the checksums of all files in it."""
    save_config(folder, model)
    write_bytes(folder / "model.safetensors", pack(torch_tensors(model), {"format": FORMAT, "zeros": model.zeros}))
    write_sums(folder)


def save_config(folder: Path, model: Model) -> None:
    """Write ``config.json`` into ``folder``."""
    config = {
        "format": FORMAT,
        **model.about,
        "parameters": model.parameters,
        "zeros": model.zeros,
        "sparsity": model.sparsity,
        "scaling": model.scaling,
        "shape": list(model.shape),
        "encoder": layers_to_json(model.encoder),
        "decoder": layers_to_json(model.decoder),
    }
    text = CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(config, indent=1))
    write_text(folder / "config.json", text + "\n")


def torch_tensors(model: Model) -> dict[str, Floats]:
    """Return the tensors by the names and in the layouts of torch's modules: weights of dense layers ``[out, in]``."""
    found: dict[str, Floats] = {}
    for bound in model.layers:
        weight, bias = model.tensors[bound.name + ".weight"], model.tensors[bound.name + ".bias"]
        own = bound.layer.to_torch(bound.given, weight, bias)
        found |= {f"{bound.name}.{name}": tensor.astype(np.float32, copy=False) for name, tensor in own.items()}
    return found


def layers_to_json(layers: tuple[BoundLayer, ...]) -> list[dict[str, Any]]:
    """Return what ``config.json`` says of a chain: of each layer its kind, the values it reads, and its numbers."""
    return [{"in": bound.inputs, **to_json(bound.layer)} for bound in layers]


def layers_from_json(part: str, given: Shape, values: Sequence[Mapping[str, Any]]) -> tuple[BoundLayer, ...]:
    """Return the chain of what :func:`layers_to_json` gave, named ``part.0``, ``part.1`` and so on.

    Raises:
        SpecError, ValueError, KeyError, TypeError: it is no such chain.
    """
    chain = bind([from_json(f"{part}.{index}", layer) for index, layer in enumerate(values)], given)
    for bound, layer in zip(chain, values, strict=True):
        if bound.inputs != layer["in"]:
            raise ValueError(f"{bound.name} is given {bound.inputs} values, and takes {layer['in']}")
    return chain


def model_folder(folder: Path) -> Path:
    """Return the model folder that a user names by itself or by its run."""
    inside = standing(folder / "model")
    return inside if inside.is_dir() else standing(folder)


def load_model(folder: Path) -> Model:
    """Read a model folder back, checking that both files are as they were written, and fit together.

    Raises:
        DataError: a file is missing, damaged, or does not fit the others.
    """
    path = folder / "config.json"
    try:
        config = parse_json(read_own(path))
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, this version reads {FORMAT}")
        if not config["encoder"] or not config["decoder"]:
            raise ValueError("encoder or decoder has no layers")
        shape = shape_from_json(config["shape"])
        encoder = layers_from_json("encoder", shape, config["encoder"])
        decoder = layers_from_json("decoder", encoder[-1].gives, config["decoder"])
        scaling = scaling_from_json(config["scaling"], math.prod(shape))
        check_metrics(config.get("metrics", {}))
    except OSError as fault:
        raise DataError(
            f"{path}: cannot be read ({fault.strerror}); name a model folder that aecompress wrote"
        ) from fault
    except (SpecError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as fault:
        why = f"it has no {fault}" if isinstance(fault, KeyError) else fault
        raise DataError(f"{path}: is not a model's config ({quoted(why)}); make the model again") from fault
    tensors = weights_of(folder / "model.safetensors", encoder + decoder)
    check_files(folder, "config.json", "model.safetensors")
    ours = ("format", "parameters", "zeros", "sparsity", "scaling", "shape", "encoder", "decoder")
    about = {key: value for key, value in config.items() if key not in ours}
    return Model(encoder=encoder, decoder=decoder, tensors=tensors, scaling=scaling, about=about)


def shape_from_json(values: Any) -> Shape:
    """Return the shape of a row of ``config.json``.

    Raises:
        TypeError: it is none.
    """
    if type(values) is not list or not values or not all(type(size) is int and size > 0 for size in values):
        raise TypeError(f"shape = {quoted(values)}")
    return tuple(values)


def scaling_from_json(values: Any, inputs: int) -> dict[str, Any]:
    """Return the scaling of ``config.json``: its kind, and the offset and divisor of all or of each of the ``inputs``.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    if type(values) is not dict or not isinstance(values["kind"], str):
        raise TypeError(f"scaling = {quoted(values)}")
    for name in ("offset", "divisor"):
        one = values[name]
        numbers = one if isinstance(one, list) and len(one) == inputs else [one]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"scaling.{name} = {quoted(one)}")
        if name == "divisor" and not all(numbers):
            raise ValueError(f"scaling.{name} holds 0")
    return dict(values)


def check_metrics(values: Any) -> None:
    """Refuse metrics of ``config.json`` that are not numbers by name.

    Raises:
        TypeError: they are not.
    """
    if type(values) is not dict or not all(type(value) in (int, float) for value in values.values()):
        raise TypeError(f"metrics = {quoted(values)}")


def weights_of(path: Path, layers: tuple[BoundLayer, ...]) -> dict[str, Floats]:
    """Read the tensors of a model file, weights as ``[fan_in, columns]``.

    Raises:
        DataError: it is damaged, or its tensors are not those of ``layers``.
    """
    tensors = unpack(path)
    expected: dict[str, tuple[int, ...]] = {}
    names: dict[str, list[str]] = {}
    for bound in layers:
        weight, bias = (np.broadcast_to(np.float32(0), shape) for shape in shapes_of(bound))
        blank = bound.layer.to_torch(bound.given, weight, bias)
        expected |= {f"{bound.name}.{name}": tensor.shape for name, tensor in blank.items()}
        names[bound.name] = list(blank)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise DataError(
            f"{path}: {wrong[0]} has shape {found.get(wrong[0])}, "
            f"config.json says {expected.get(wrong[0])}; take both files from one run"
        )
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise DataError(f"{path}: {name} is {tensor.dtype}; float32 is needed")
    result: dict[str, Floats] = {}
    for bound in layers:
        own = {name: tensors[f"{bound.name}.{name}"] for name in names[bound.name]}
        weight, bias = bound.layer.from_torch(bound.given, own)
        result[bound.name + ".weight"] = weight.astype(np.float32, copy=False)
        result[bound.name + ".bias"] = bias.astype(np.float32, copy=False)
    return result


def shapes_of(bound: BoundLayer) -> tuple[tuple[int, int], tuple[int]]:
    """Return the shapes of a layer's weight ``[fan_in, columns]`` and bias."""
    return (bound.inputs, bound.outputs), (bound.biases,)


def save_state(folder: Path, generation: int, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Path:
    """Write a complete state of a run, data first and then its manifest, and drop all but the last two.

    Returns:
        The path of the tensors.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"generation-{generation:06d}.safetensors"
    digest = write_state(path, tensors)
    manifest = sealed({"generation": generation, "sha256": digest, **about})
    write_text(path.with_suffix(".json"), json.dumps(manifest, indent=1) + "\n")
    # States beyond this one were passed over as damaged when the run resumed.
    kept = [old for number, old in states(folder) if number <= generation][:STATES_KEPT]
    for _, old in states(folder):
        if old not in kept:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[tuple[int, Path]]:
    """Return the generation and the manifest of every state in a folder, the newest first."""
    found = ((re.fullmatch(r"generation-([0-9]{6,18})\.json", path.name), path) for path in folder.glob("*.json"))
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def write_state(path: Path, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write a safetensors file tensor by tensor, because a library that makes the whole file first needs it twice.

    Returns:
        The file's sha256.
    """
    entries: dict[str, Any] = {}
    place = 0
    for name, tensor in sorted(tensors.items()):
        entries[name] = {
            "dtype": STATE_TYPES[tensor.dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + tensor.nbytes],
        }
        place += tensor.nbytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    with whole(path) as file:

        def put(part: Any) -> None:
            digest.update(part)
            file.write(part)

        put(struct.pack("<Q", len(header)) + header)
        for _, tensor in sorted(tensors.items()):
            put(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def load_state(folder: Path, about: Mapping[str, Any]) -> tuple[int, dict[str, NDArray[Any]], list[str]]:
    """Load the newest state that is whole.

    Args:
        about: what the manifest must say, as given to :func:`save_state`.

    Returns:
        Its generation and tensors (0 and none where there is no whole state), and a sentence per state passed over.

    Raises:
        DataError: the states belong to another run.
    """
    passed_over = []
    for generation, manifest in states(folder):
        path = manifest.with_suffix(".safetensors")
        try:
            stated = read_manifest(manifest, generation)
            with open_own(path) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != stated["sha256"]:
                    raise ValueError("its checksum does not match")
            tensors = dict(safetensors.numpy.load_file(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as fault:
            passed_over.append(f"{path.name} is damaged ({fault})")
            continue
        check_owner(manifest, stated, about)
        return generation, tensors, [f"{note}, so an older one is used" for note in passed_over]
    return 0, {}, [f"{note}, so the run begins again" for note in passed_over]


def check_states(folder: Path, about: Mapping[str, Any]) -> None:
    """Refuse the states of another run, by their manifests alone; damaged ones are passed over.

    Raises:
        DataError: a state belongs to another run, or a folder is where a state will be written.
    """
    for path in folder.glob("generation-*"):
        if path.is_dir():
            raise DataError(f"{path}: is a folder in the place of a checkpoint; remove it")
    for generation, manifest in states(folder):
        try:
            stated = read_manifest(manifest, generation)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        check_owner(manifest, stated, about)


def read_manifest(path: Path, generation: int) -> dict[str, Any]:
    """Read the manifest of a state, as it was sealed.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: it cannot be read, was changed, or is of another
            generation.
    """
    stated: dict[str, Any] = parse_json(read_own(path))
    check_seal(stated)
    if stated["generation"] != generation:
        raise ValueError(f"its manifest is of generation {stated['generation']}")
    return stated


def check_owner(manifest: Path, stated: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuse a state of which the manifest does not say ``about``.

    Raises:
        DataError: it belongs to another run.
    """
    for key, value in about.items():
        if stated.get(key) != value:
            raise DataError(
                f"{manifest}: {key} is {stated.get(key)!r:.200}, this run has {value!r:.200}; "
                "resume with the data and the spec that the run was started with"
            )


def save_rows(path: Path, rows: Floats, raw: Floats | None = None) -> None:
    """Keep scaled rows ``[N, *shape]`` beside a model, for :mod:`verify`, and the ``raw`` ones for whoever tries it."""
    write_bytes(path, pack({"rows": rows} | ({} if raw is None else {"raw": raw}), {"format": FORMAT}))


def load_rows(path: Path) -> Floats:
    """Load the scaled rows ``[N, *shape]`` kept by :func:`save_rows`.

    Raises:
        DataError: they cannot be read, or are not as they were written.
    """
    check_listed(path)
    tensors = unpack(path)
    if set(tensors) - {"raw"} != {"rows"} or tensors["rows"].ndim < 2:
        raise DataError(f"{path}: holds {', '.join(sorted(tensors))}, not rows; name a rows.safetensors")
    if tensors["rows"].dtype != np.float32:
        raise DataError(f"{path}: its rows are {tensors['rows'].dtype}; float32 is needed")
    return tensors["rows"]


def kept_rows(folder: Path) -> Floats | None:
    """Return the scaled rows ``[N, *shape]`` that a model folder keeps; None where it was written without any.

    Raises:
        DataError: they are gone, cannot be read, or are not as they were written.
    """
    path = folder / "rows.safetensors"
    check_listed(path)
    return load_rows(path) if path.exists() else None
