"""The formats that models trained elsewhere come in, by the ending of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aecompress.deploy.pretrained import safetensors, statedict
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.onnx import reader as onnx
from aecompress.digests import check_listed
from aecompress.errors import DataError

FORMATS: dict[str, Callable[[Path], Pretrained]] = {
    ".safetensors": safetensors.read,
    ".pt": statedict.read,
    ".pth": statedict.read,
    ".bin": statedict.read,
    ".onnx": onnx.read,
}


def read_pretrained(path: Path) -> Pretrained:
    """Read a model trained elsewhere; the ending of the file says how.

    Raises:
        DataError: the file does not exist, was changed, or is not a chain of linear layers.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check model.init (--init)")
    if path.suffix not in FORMATS:
        *others, last = FORMATS
        raise DataError(f"{path}: is not a model; model.init (--init) takes {', '.join(others)} and {last}")
    check_listed(path)
    return FORMATS[path.suffix](path)
