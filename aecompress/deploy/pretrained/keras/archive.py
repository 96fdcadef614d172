"""What a file of Keras holds: the layers as text, the weights as arrays."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.sources.packed import check_library, check_ratio
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import parse_json, quoted

Array = NDArray[Any]
Config = Mapping[str, Any]
MOST_CONFIG = 4 << 20
"""Bytes of the text that says which layers there are."""
EXPORT = "export it with model.export('model.onnx', format='onnx') and give that"
"""What helps where a model cannot be read."""


@dataclass(frozen=True)
class Archive:
    """A model as Keras saved it."""

    model: Config
    """Class name and configuration."""
    arrays: Mapping[str, Array]
    """By their places in the file."""
    named: Mapping[str, list[str]] | None
    """Of HDF5 files alone: the places of each layer's weights, by the layer's name."""

    def weights(self, place: str, name: str, part: str = "") -> list[Array]:
        """Return the weights of a layer, in the order in which it made them.

        Args:
            place: where a ``.keras`` file has them, such as ``layers/dense_1``.
            name: of the layer.
            part: layer inside it that has them, ``cell`` or ``layer``.
        """
        if self.named is not None:
            own = self.named.get(name)
            if own is None:  # in the group of the model that it is in
                own = [each for places in self.named.values() for each in places if name in each.split("/")]
            return [self.arrays[each] for each in own]
        start = f"{place}/{part}/vars/" if part else f"{place}/vars/"
        found = {each.removeprefix(start): array for each, array in self.arrays.items() if each.startswith(start)}
        return [found[key] for key in sorted(found, key=lambda key: (len(key), key))]


def open_archive(path: Path) -> Archive:
    """Read a ``.keras`` file, or a whole model as HDF5.

    Raises:
        DataError: damaged, too large, or without the layers.
    """
    check_library(str(path), "h5py")
    try:
        return _zipped(path) if zipfile.is_zipfile(path) else _hdf5(path)
    except DataError:
        raise
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({quoted(fault)}); save the model again") from fault
    except Exception as fault:  # a damaged file makes h5py and zipfile raise a dozen unrelated classes
        reason = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise DataError(f"{path}: cannot be read as a model of Keras ({quoted(reason)}); save it again") from fault


def _zipped(path: Path) -> Archive:
    import h5py

    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member for member in archive.infolist()}
        for member in sizes.values():
            check_ratio(str(path), member.compress_size, member.file_size)
        if not {"config.json", "model.weights.h5"} <= sizes.keys():
            raise DataError(f"{path}: holds no config.json and model.weights.h5 as Keras 3 writes them; {EXPORT}")
        model = _model(path, archive.read("config.json") if sizes["config.json"].file_size < MOST_CONFIG else b"")
        if sizes["model.weights.h5"].file_size > memory_bytes() // 4:
            raise DataError(f"{path}: has weights of {gib(sizes['model.weights.h5'].file_size)}; give a smaller model")
        with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as content:
            return Archive(model, _arrays(path, content), None)


TEXTS = """
import h5py, json, sys
def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
with h5py.File(sys.argv[1], "r") as content:
    config = content.attrs.get("model_config")
    groups = content["model_weights"] if config is not None else {}
    names = {name: [text(each) for each in groups[name].attrs.get("weight_names", [])] for name in groups}
    print(json.dumps([None if config is None else text(config), names]))
"""
"""Prints the texts of an HDF5 file: the library never ends on some damaged ones, so it has a process of its own."""
MOST_SECONDS = 20
"""That process may take."""


def _hdf5(path: Path) -> Archive:
    import h5py

    try:
        command = [sys.executable, "-c", TEXTS, str(path.resolve())]
        made = subprocess.run(command, capture_output=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: is damaged, its texts have no end; save the model again") from None
    text, names = json.loads(made.stdout) if made.returncode == 0 else (None, {})
    if made.returncode:
        reason = made.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise DataError(f"{path}: cannot be read as a model of Keras ({quoted(reason)}); save it again")
    if text is None:
        raise DataError(f"{path}: holds weights without layers; save the whole model, model.save('model.keras')")
    model = _model(path, text.encode())
    with h5py.File(path, "r") as content:
        arrays = _arrays(path, content["model_weights"])
    named = {name: [f"{name}/{each}" for each in places] for name, places in names.items()}
    return Archive(model, arrays, {name: places for name, places in named.items() if places})


def _model(path: Path, text: bytes) -> Config:
    """Return the model's class name and configuration."""
    try:
        model = parse_json(text) if len(text) < MOST_CONFIG else None
    except ValueError as fault:
        raise DataError(f"{path}: its config.json is not JSON ({quoted(fault)}); save the model again") from fault
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
        raise DataError(f"{path}: its configuration is none of a model; save the model again")
    return model


def _arrays(path: Path, content: Any) -> dict[str, Array]:
    """Return the weights of a file, without the optimizer's; what lies in other files is not read."""
    import h5py

    found, total = dict[str, Array](), 0

    def visit(name: str, item: object) -> None:
        nonlocal total
        if not isinstance(item, h5py.Dataset) or name.startswith("optimizer") or item.dtype.kind not in "buif":
            return
        if item.external or item.is_virtual:
            raise DataError(f"{path}: keeps its weights in other files; save the model again")
        check_ratio(str(path), item.id.get_storage_size(), item.nbytes)
        total += item.nbytes
        if total > memory_bytes() // 4:
            raise DataError(f"{path}: has weights of more than {gib(total)}; give a smaller model")
        found[name] = np.asarray(item[()])

    content.visititems(visit)
    return found


def snake_case(name: str) -> str:
    """Return the name that Keras saves a layer of a class by: ``Conv2DTranspose``, ``conv2d_transpose``."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def shown(value: object) -> str:
    """Return a value of a configuration for a message."""
    return quoted(json.dumps(value))[:80]
