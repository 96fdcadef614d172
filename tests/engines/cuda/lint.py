"""What code that a graph captures may not do: a replay repeats the launches, and nothing that the host did."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import aecompress

PACKAGE = str(Path(aecompress.__file__).parent)
TRANSFERS = {"item", "tolist", "cpu", "cuda", "numpy", "pin_memory", "on_device", "on_host"}
SIZED_BY_DATA = {"nonzero", "masked_select", "unique", "bincount"}
FACTORIES = {"tensor", "as_tensor", "asarray", "from_numpy", "new_tensor"}
OF_A_STEP = {"step_size", "step_key", "draw_noise", "permutation", "rate", "poll", "next", "time", "perf_counter"}
OF_A_STEP |= {"generation", "steps"}
"""Names of what differs between two steps on the host."""


def functions_of(body: Callable[[], Any], rewind: Callable[[], Any]) -> set[CodeType]:
    """The functions of the package that a call of ``body`` runs, after a first one, in which caches are filled."""
    found = set[CodeType]()

    def seen(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found.add(frame.f_code)

    body()
    rewind()
    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        body()
    finally:
        sys.setprofile(before)
    return found


def source_of(code: CodeType) -> list[ast.AST]:
    """The functions of a file that begin where the code does."""
    tree = ast.parse(Path(code.co_filename).read_text())
    kinds = ast.FunctionDef | ast.Lambda
    return [node for node in ast.walk(tree) if isinstance(node, kinds) and first_line(node) == code.co_firstlineno]


def first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    """The line of the first decorator, or the function's own."""
    decorators = getattr(node, "decorator_list", [])
    return min(each.lineno for each in (*decorators, node))


def faults(node: ast.AST) -> Iterator[str]:
    """Whatever of a function a replay would not repeat."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            yield from faults_of_call(part)
        elif isinstance(part, ast.Attribute) and part.attr in OF_A_STEP:
            yield f"number of a step: {ast.unparse(part)}"
        elif isinstance(part, ast.Global | ast.Nonlocal):
            yield f"state of the host: {ast.unparse(part)}"
        elif isinstance(part, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            yield from (
                f"state of the host: {ast.unparse(part)}" for each in targets if isinstance(each, ast.Attribute)
            )


def faults_of_call(call: ast.Call) -> Iterator[str]:
    """What is wrong with a call: a transfer, a factory from Python's data, a size that depends on data."""
    name, words = called(call.func), ast.unparse(call)
    if name in TRANSFERS or (name == "to" and not changes_format(call)):
        yield f"transfer: {words}"
    elif name in FACTORIES:
        yield f"factory from Python's data: {words}"
    elif name in SIZED_BY_DATA:
        yield f"size that depends on data: {words}"
    elif name in OF_A_STEP and isinstance(call.func, ast.Name):
        yield f"number of a step: {words}"


def called(function: ast.expr) -> str:
    """The last part of a function's name."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def changes_format(call: ast.Call) -> bool:
    """Whether ``Tensor.to`` is given a number format and no place: ``torch.float32``, or one called so."""
    named = all(each.arg in ("dtype", "copy") for each in call.keywords)
    return named and all(isinstance(each, ast.Attribute) and is_format(each) for each in call.args)


def is_format(word: ast.Attribute) -> bool:
    """Whether an attribute is a number format."""
    return word.attr == "dtype" or word.attr.startswith(("float", "bfloat", "int", "uint"))
