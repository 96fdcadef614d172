"""The formats that models trained elsewhere come in, by the ending of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aecompress.deploy.pretrained import safetensors, statedict
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.keras import reader as keras
from aecompress.deploy.pretrained.onnx import reader as onnx
from aecompress.digests import check_listed
from aecompress.errors import DataError
from aecompress.layers.base import Shape

FORMATS: dict[str, Callable[[Path, Shape | None], Pretrained]] = {
    ".safetensors": safetensors.read,
    ".pt": statedict.read,
    ".pth": statedict.read,
    ".bin": statedict.read,
    ".ckpt": statedict.read,
    ".onnx": onnx.read,
    ".keras": keras.read,
    ".h5": keras.read,
}
PICKLED = "import skl2onnx; open('model.onnx', 'wb').write(skl2onnx.to_onnx(model, rows[:1]).SerializeToString())"
EXPORTS = {
    ".pt2": "torch.onnx.export(torch.export.load('model.pt2'), f='model.onnx', dynamo=True, external_data=False)",
    ".pb": "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
    ".tflite": "python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
    ".pkl": PICKLED,
    ".pickle": PICKLED,
    ".joblib": PICKLED,
}
"""Of formats that need code to be read, the line that exports a model in one of them as ONNX."""


def read_pretrained(path: Path, rows: Shape | None = None) -> Pretrained:
    """Read a model trained elsewhere; the ending of the file says how.

    Args:
        rows: shape of a row of the run; None: as the file's first layer takes it.

    Raises:
        DataError: the file does not exist, was changed, or is not a chain of layers that there are here.
    """
    saved = path / "saved_model.pb"
    if path.suffix in EXPORTS or saved.is_file():
        line = EXPORTS.get(path.suffix, EXPORTS[saved.suffix])
        raise DataError(f"{path}: cannot be read without running code; export it as ONNX and give that: {line}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check model.init (--init)")
    if path.suffix not in FORMATS:
        *others, last = FORMATS
        raise DataError(f"{path}: is not a model; model.init (--init) takes {', '.join(others)} and {last}")
    check_listed(path)
    return FORMATS[path.suffix](path, rows)
