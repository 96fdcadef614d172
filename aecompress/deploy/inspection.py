"""A model, layer by layer, as numbers for a table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from aecompress.deploy.checkpoint import Model
from aecompress.deploy.reading import read_onnx
from aecompress.layers.units import fed, read


def describe(model: Model) -> list[dict[str, Any]]:
    """Return one row per layer: ``in`` and ``out`` count the values that it is given and gives for one row.

    ``shape`` is that of what it gives, units last.

    ``unfed`` counts output units without any incoming weight (constants), ``unread`` output units that no weight of
    the next layer reads.
    """
    table = []
    for index, layer in enumerate(model.layers):
        weight, bias = model.tensors[layer.name + ".weight"], model.tensors[layer.name + ".bias"]
        zeros = weight.size + bias.size - int(np.count_nonzero(weight)) - int(np.count_nonzero(bias))
        after = next((one for one in model.layers[index + 1 :] if one.weighted and not one.follows), None)
        unread = 0
        if after is not None and layer.weighted and after.matrix.below == layer.units:
            unread = int((~read(after.matrix, model.tensors[after.name + ".weight"])).sum())
        table.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "shape": list(layer.gives),
                "in": math.prod(layer.given),
                "out": math.prod(layer.gives),
                "activation": layer.activation,
                "parameters": weight.size + bias.size,
                "zeros": zeros,
                "sparsity": zeros / max(weight.size + bias.size, 1),
                "unfed": int((~fed(layer.matrix, weight)).sum()) if layer.weighted and not layer.follows else 0,
                "unread": unread,
            }
        )
    return table


def thresholds(folder: Path) -> dict[str, float]:
    """Return the threshold of each scorer in a model folder by file name, as its metadata have it."""
    found = {}
    for path in sorted(folder.glob("scorer*.onnx")):
        about = {entry.key: entry.value for entry in read_onnx(path).metadata_props}
        found[path.name] = float(about["aecompress.threshold"])
    return found
