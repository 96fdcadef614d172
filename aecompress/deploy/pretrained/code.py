"""A module in a file of Python, ``FILE.py:NAME``: nothing of the file is run unless its user trusts it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aecompress.errors import DataError, SpecError
from aecompress.parsing import quoted

if TYPE_CHECKING:
    from torch import nn

NAMED = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*(\.[^\W\d]\w*)*)")
"""How such a module is named."""
MOST_CODE = 1 << 24
"""Bytes of a file of Python."""
MODULE = "aecompress_model"
"""The name that the file has while it runs; not ``__main__``."""


class Code(NamedTuple):
    """A file of Python that its user trusts, and what it is to hold."""

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def code_in(init: str) -> Code | None:
    """Return the file and the name that ``FILE.py:NAME`` is; None where it is something else."""
    found = NAMED.fullmatch(init)
    return None if found is None else Code(Path(found["file"]), found["name"])


def check_trusted(init: str, trusted: bool) -> None:
    """Refuse a module in a file of Python that the user has not trusted, and a file without a name in it.

    Raises:
        SpecError: nothing of the file was run.
    """
    if code_in(init) is not None and not trusted:
        raise SpecError(
            f"{init}: a module in a file of Python runs that file with all your rights; read it, then add --trust-code "
            "(trust_code=True in Python)"
        )
    if init.endswith(".py"):
        raise SpecError(f"{init}: name the module in it, as {init}:NAME: a class, or a function that returns one")


def read_code(code: Code, directory: Path = Path()) -> tuple[bytes, str]:
    """Return the content of the file, and its sha256.

    Raises:
        DataError: it cannot be read.
    """
    path = directory / code.file
    try:
        if path.stat().st_size > MOST_CODE:
            raise DataError(f"{path}: has {path.stat().st_size} bytes; give a file of Python")
        content = path.read_bytes()
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); check model.init (--model)") from fault
    return content, hashlib.sha256(content).hexdigest()


def load_module(code: Code, content: bytes, seed: int, directory: Path = Path()) -> nn.Module:
    """Run the trusted ``content`` of a file, and return the module that it holds or makes.

    What the file prints goes to stderr. Weights that it draws are those of ``seed``.

    Raises:
        DataError: it fails, or has no such module.
    """
    import torch

    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(sys.stderr):
        torch.manual_seed(seed)
        found = _named(code, _run(code, content, directory / code.file))
        return _module(code, found)


def _run(code: Code, content: bytes, path: Path) -> dict[str, Any]:
    """Return the names of a file after it has run; modules beside it can be imported by it."""
    spec = importlib.util.spec_from_loader(MODULE, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        # Its user trusts it.
        exec(compile(content, str(path), "exec"), vars(module))  # noqa: S102
    except (Exception, SystemExit) as fault:
        raise DataError(f"{path}: {_fault(fault, path)}; correct it") from fault
    finally:
        sys.path.remove(str(path.resolve().parent))
    return vars(module)


def _fault(fault: BaseException, path: Path) -> str:
    """Return what went wrong in a file, with its last line there."""
    lines, trace = [], fault.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    message = str(fault).strip().splitlines()
    where = f" in line {lines[-1]}" if lines else ""
    return f"raises {type(fault).__name__}{where}" + (f" ({message[0][:160]})" if message else "")


def _named(code: Code, names: dict[str, Any]) -> Any:
    first, *rest = code.name.split(".")
    found = names.get(first)
    for part in rest:
        found = getattr(found, part, None)
    if found is None:
        others = [name for name, value in names.items() if getattr(value, "__module__", "") == MODULE]
        raise DataError(
            f"{code.file}: has no {code.name}; it has {quoted(', '.join(others) or 'no class or function')}"
        )
    return found


def _module(code: Code, found: Any) -> nn.Module:
    """Return a module, or that which a class or function without arguments makes.

    Raises:
        DataError: it is something else, needs arguments, or fails.
    """
    from torch import nn

    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise DataError(f"{code}: is of type {type(found).__name__}; name a torch.nn.Module, its class or a function")
    try:
        needed = [
            each.name
            for each in inspect.signature(found).parameters.values()
            if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        needed = []
    if needed:
        raise DataError(
            f"{code}: takes arguments ({', '.join(needed)}); write a function without arguments that returns the module"
        )
    try:
        made = found()
    except (Exception, SystemExit) as fault:
        raise DataError(f"{code}: {_fault(fault, code.file)}; correct it") from fault
    if not isinstance(made, nn.Module):
        raise DataError(f"{code}: returns {type(made).__name__}; return a torch.nn.Module")
    return made
