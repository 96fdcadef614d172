"""State dicts that torch saved: tensors alone; no code of the file is run."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aecompress.data.sources.packed import check_ratio
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.readings import from_tensors
from aecompress.errors import DataError
from aecompress.layers.base import Shape
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import quoted

NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "autoencoder")
"""Where training scripts put the state dict inside what they save."""


def read(path: Path, rows: Shape | None = None) -> Pretrained:
    """Read the model in a file that ``torch.save(module.state_dict(), path)`` wrote, for rows of a shape.

    Raises:
        DataError: the file cannot be read, needs code, or is not an autoencoder.
    """
    return from_tensors(path, read_state_dict(path), rows)


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a state dict as float32; masks of ``torch.nn.utils.prune`` are applied.

    Raises:
        DataError: the file cannot be read, needs code, or holds something else.
    """
    import torch

    content = _content(path)
    tensors = {}
    for name, tensor in content.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise DataError(f"{path}: {name} is not a plain dense tensor; convert it first")
        mask = content.get(name.removesuffix("_orig") + "_mask") if name.endswith("_orig") else None
        if name.endswith("_mask"):
            continue
        if mask is not None and mask.shape != tensor.shape:
            raise DataError(f"{path}: {quoted(name)} and its mask have different shapes; save the model again")
        value = tensor if mask is None else tensor * mask
        tensors[name.removesuffix("_orig")] = value.detach().to(torch.float32).numpy().copy()
    return tensors


def _content(path: Path) -> dict[str, Any]:
    """Return the state dict of a file, also where a training script put it inside another dict."""
    import torch

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch stores what it writes as it is; others may compress it
                for member in archive.infolist():
                    check_ratio(str(path), member.compress_size, member.file_size)
                if any(Path(member.filename).name == "constants.pkl" for member in archive.infolist()):
                    raise DataError(_with_code(path, "a TorchScript module", "torch.jit.load({name!r})"))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name an existing file") from fault
    except Exception as fault:  # a damaged file makes torch, pickle and zipfile raise a dozen unrelated classes
        raise DataError(_not_loaded(path, fault)) from fault
    content = _tensors_in(content)
    if not content:
        raise DataError(f"{path}: holds no state dict; save it with torch.save(model.state_dict(), path)")
    for name, tensor in content.items():
        if (
            tensor.layout == torch.strided
            and tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()
        ):
            raise DataError(
                f"{path}: {quoted(name)} repeats few values (expand); save the model with contiguous tensors"
            )
    needed = 4 * sum(tensor.numel() for tensor in content.values())
    if needed > memory_bytes() // 3:
        raise DataError(f"{path}: its tensors take {gib(needed)}, this machine has {gib(memory_bytes())}; give fewer")
    return content


def _not_loaded(path: Path, fault: Exception) -> str:
    """Return why torch did not load a file as tensors alone, with the lines that make a state dict of a module."""
    reason = " ".join(str(fault).split())
    found = re.search(r"GLOBAL (\S+)", reason)
    if "Unsupported operand" in reason:
        return (
            f"{path}: holds objects of another program, whose code is not run here; load it with what saved it, and "
            "torch.save(module.state_dict(), 'weights.pt') the module in it"
        )
    if found is None:
        cure = "save it with torch.save(model.state_dict(), ...)"
        return f"{path}: holds more than tensors, or is damaged ({reason[:120]}); {cure}"
    return _with_code(
        path, f"a whole module or other objects ({found[1]:.80})", "torch.load({name!r}, weights_only=False)"
    )


def _with_code(path: Path, what: str, load: str) -> str:
    """Return that a file holds more than tensors, whose code is not run, and what makes a state dict of it."""
    call = load.format(name=path.name)
    return (
        f"{path}: holds more than tensors: {what}, whose code is not run here; where you trust it, make a state dict "
        f"of it: model = {call} and then torch.save(model.state_dict(), 'weights.pt')"
    )


def _tensors_in(content: Any) -> dict[str, Any]:
    """Return the named tensors of what a file holds: under the names that scripts use, else of its one dict of tensors.

    Of several dicts of tensors, such as an encoder's and a decoder's, all, each under its own name.
    """
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        return {}
    if content and all(map(_is_named_tensor, content.items())):
        return content
    inside = {
        key: {name: tensor for name, tensor in value.items() if not str(name).startswith("_")}
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, dict)
    }
    held = {key: value for key, value in inside.items() if value and all(map(_is_named_tensor, value.items()))}
    if len(held) == 1:
        return next(iter(held.values()))
    return {f"{key}.{name}": tensor for key, value in held.items() for name, tensor in value.items()}


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    """Return whether a key and its value are those of a state dict."""
    import torch

    return isinstance(item[0], str) and bool(torch.is_tensor(item[1]))
