"""A saved model of Keras as a chain of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aecompress.deploy.pretrained.assembled import assembled
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.building import residual, steps_of
from aecompress.deploy.pretrained.keras.archive import EXPORT, Archive, Config, open_archive, shown, snake_case
from aecompress.deploy.pretrained.keras.layers import HELP, LAYERS, KerasLayer
from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.pretrained.views import Refused, Shape, View, start
from aecompress.errors import DataError

ROWS = 3
"""Rows of the batch that a model is followed with."""
MODELS = ("Sequential", "Functional", "Model")
"""Classes whose layers stand in the file."""
DAMAGE = (ValueError, TypeError, LookupError, OverflowError, AttributeError, ArithmeticError, MemoryError)
"""What a damaged configuration raises."""
DEEPEST = 8
"""Models inside each other."""


class Place(NamedTuple):
    """Where in the file a model's layers are."""

    archive: Archive
    path: Path
    place: str
    names: tuple[str, ...] = ()
    """Of the models around it."""


@np.errstate(all="ignore")
def read(path: Path, rows: Shape | None = None) -> Pretrained:
    """Read a model that ``model.save("model.keras")`` or ``model.save("model.h5")`` wrote.

    Args:
        rows: shape of a row of the run; None: that of the model.

    Raises:
        DataError: the file is damaged, or a layer of it is none of ours; it is named.
    """
    steps, own = followed(path, rows)
    return assembled(path, steps, rows, own)


@np.errstate(all="ignore")
def followed(path: Path, rows: Shape | None = None) -> tuple[list[Step], Shape]:
    """Return the chain of steps in a file, and the shape of a row that it takes.

    Raises:
        DataError: as :func:`read`.
    """
    archive = open_archive(path)
    if archive.model.get("class_name") not in MODELS:
        kind = shown(archive.model.get("class_name"))
        raise DataError(f"{path}: is of the class {kind}, whose code is not in the file; {EXPORT}")
    try:
        own = _input_shape(path, archive.model, rows)
        end = _model(Place(archive, path, ""), archive.model, start((ROWS, *own)))
        return steps_of(end, "output"), own
    except Refused as refusal:
        raise DataError(f"{path}: {str(refusal).replace(chr(10), ': ')}") from None
    except DAMAGE as fault:
        raise DataError(f"{path}: is not as Keras writes it ({fault!r:.120}); save it again, or {EXPORT}") from fault


def _input_shape(path: Path, model: Config, rows: Shape | None) -> Shape:
    """Return the shape of a row; sizes that the model leaves open are those of the run's rows."""
    config, shape = model["config"], None
    for layer in config.get("layers", []):
        given = layer["config"]
        shape = shape or given.get("batch_shape") or given.get("batch_input_shape")
        if layer["class_name"] in MODELS and shape is None:
            return _input_shape(path, layer, rows)
    shape = shape or config.get("build_input_shape")
    sizes = [None if size is None else int(size) for size in (shape or [])[1:]]
    if rows is not None and len(rows) == len(sizes):
        sizes = [row if size is None else size for size, row in zip(sizes, rows, strict=True)]
    if not sizes or None in sizes or min(size or 0 for size in sizes) < 1:
        raise DataError(f"{path}: does not say how large its rows are; begin the model with keras.Input(shape)")
    return tuple(size or 0 for size in sizes)


def _model(at: Place, model: Config, view: View) -> View:
    """Return what a model's layers give."""
    if len(at.names) > DEEPEST:
        raise Refused("holds models inside models; save a plain one")
    used, places = Counter[str](), dict[str, str]()
    for layer in model["config"]["layers"]:
        saved = snake_case(layer["class_name"])
        places[_name(layer)] = f"{at.place}layers/{saved}_{used[saved]}" if used[saved] else f"{at.place}layers/{saved}"
        used[saved] += 1
    values, names, source = dict[str, View](), _outputs(model), ""
    for layer in model["config"]["layers"]:
        name, sources = _name(layer), _sources(layer.get("inbound_nodes") or [])
        if model["class_name"] == "Sequential":
            sources, source = [source] * bool(source), name
        given = [values[each] for each in sources if each in values] if sources else [view]
        if len(given) < len(sources):
            continue  # behind a layer that cannot be read, which the output does not need
        try:
            values[name] = _layer(at._replace(place=places[name]), layer, given)
        except Refused as refusal:
            if name in needed(model, names):
                raise DataError(f"{at.path}: layer {shown(name)} ({layer['class_name']}) {refusal}") from None
    return values[names[0]]


def needed(model: Config, names: Sequence[str]) -> set[str]:
    """Return the names of the layers that give what layers of the given names take, and these."""
    if model["class_name"] == "Sequential":
        return {_name(layer) for layer in model["config"]["layers"]}
    sources = {_name(layer): _sources(layer.get("inbound_nodes") or []) for layer in model["config"]["layers"]}
    found, left = set[str](), list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += sources.get(name, [])
    return found


def _outputs(model: Config) -> list[str]:
    """Return the name of the layer whose result a model gives.

    Raises:
        Refused: it gives several.
    """
    layers = model["config"]["layers"]
    names = [_name(layers[-1])] if model["class_name"] == "Sequential" else _sources(model["config"]["output_layers"])
    if len(names) != 1:
        raise Refused(f"has {len(names)} outputs; save the model that gives the reconstruction alone")
    return names


def _name(layer: Config) -> str:
    return str(layer["config"].get("name", layer.get("name")))


def _layer(at: Place, layer: Config, given: Sequence[View]) -> View:
    """Return what one layer gives."""
    kind, config, name, part = str(layer["class_name"]), layer["config"], _name(layer), ""
    if kind == "Add" and len(given) == 2:
        return residual(given[0], given[1], name)
    if len(given) != 1:
        raise Refused(HELP.get(kind, f"takes {len(given)} values; only a chain can be read"))
    view = given[0]
    if kind in MODELS:
        return _model(at._replace(place=f"{at.place}/", names=(*at.names, name)), layer, view)
    if kind == "TimeDistributed":
        part, kind, config = "layer", str(config["layer"]["class_name"]), config["layer"]["config"]
        if kind not in ("Dense", "Dropout", "Activation", "BatchNormalization", "LeakyReLU", "ReLU"):
            raise Refused(f"applies {shown(kind)} at each step; only a dense layer can be read there")
    if kind in ("LSTM", "GRU"):
        part = "cell"
    if kind not in LAYERS:
        raise Refused(HELP.get(kind, f"is no layer that is known; {EXPORT}"))
    weights = at.archive.weights(at.place, name, part)
    result: View = LAYERS[kind](view, KerasLayer("/".join((*at.names, name)), config, weights))
    return result


def _sources(nodes: Any) -> list[str]:
    """Return the names of the layers whose results a layer takes, as Keras 2 or 3 writes them."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes.get("config", {}):
            return [str(nodes["config"]["keras_history"][0])]
        return [name for value in nodes.values() for name in _sources(value)]
    if isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            return [nodes[0]]
        return [name for value in nodes for name in _sources(value)]
    return []
