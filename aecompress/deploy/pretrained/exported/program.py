"""A module as a graph of ATen operators, with the value that each node has on a few rows."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

from aecompress.deploy.pretrained.exported.twin import check_weights, is_lazy, twin_of, unwrapped
from aecompress.errors import DataError
from aecompress.layers.base import Shape

OF = "of"
"""Where :class:`Called` holds the module; names of nodes are without it."""
PARTS = (("encoder", "decoder"), ("enc", "dec"), ("encode", "decode"))
"""Attributes of a module that has no forward of its own, or one that gives a code."""
NOISE = frozenset({"randn", "randn_like", "normal_functional", "normal"})
"""Operators that draw numbers; of the normal distribution, whose mean takes their place."""
DROPOUT = frozenset({"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"})


@dataclass(frozen=True, kw_only=True)
class Program:
    """A graph of a module, and its values on some rows."""

    name: str
    """Of the module, for messages."""
    nodes: tuple[Node, ...]
    source: Node
    """The rows as the module takes them."""
    outputs: tuple[Node, ...]
    """What it gives, one node a tensor."""
    keys: tuple[str, ...]
    """How it calls them: ``1``, or the key of a dictionary."""
    values: Mapping[Node, Any]
    """Of each node, on rows ``[N, ...]``; noise is its mean, and dropout leaves values as they are."""
    given: Shape
    """Of a row as the module takes it."""


class Called(nn.Module):
    """A module that gives a plain tuple of tensors for rows."""

    def __init__(self, of: nn.Module, parts: tuple[str, str] | None) -> None:
        super().__init__()
        self.of = of
        self.parts = parts
        self.keys: tuple[str, ...] = ()
        """Set by each call."""

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return what the module gives for ``rows``, also inside of tuples, dictionaries and dataclasses."""
        if self.parts is None:
            found = tensors_in(self.of(rows))
        else:
            first, second = (getattr(self.of, part) for part in self.parts)
            code = first(rows)
            found = tensors_in(second(code[0] if isinstance(code, tuple) else code))
        self.keys = tuple(key for key, _ in found)
        return tuple(tensor for _, tensor in found)


def tensors_in(given: Any, key: str = "0") -> list[tuple[str, Tensor]]:
    """Return the tensors of numbers in what a module gives, by the last key or place that leads to each."""
    if isinstance(given, Tensor):
        return [(key, given)] if given.is_floating_point() else []
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        given = vars(given)
    if hasattr(given, "_asdict"):
        given = given._asdict()
    if isinstance(given, Mapping):
        return [found for name, value in given.items() for found in tensors_in(value, str(name))]
    if isinstance(given, tuple | list):
        return [found for place, value in enumerate(given) for found in tensors_in(value, str(place))]
    return []


def program_of(name: str, module: nn.Module, rows: Tensor) -> tuple[Program, Form]:
    """Export a module to a graph, in a copy: the module itself is neither changed nor moved.

    Args:
        rows: some rows ``[N, *shape]``.

    Raises:
        DataError: it does not give rows back, or has a forward that is no graph.
    """
    with as_evaluated():
        module = initialised(name, unwrapped(name, module), rows)
        check_weights(name, module)
        twin = twin_of(module)
        called, form = fitting(name, twin, rows)
        given = form.given(rows)
        try:
            exported = functional(torch.export.export(called, (given,), strict=False))
        except Exception as fault:  # torch raises dozens of classes for what a graph cannot hold
            raise DataError(
                f"{name}: torch.export makes no graph of its forward ({first_line(fault)}); write it without branches "
                "and loops that depend on values, or give torch.nn.Sequential(encoder, decoder)"
            ) from fault
        return program_from(name, exported, given, called.keys), form


def initialised(name: str, module: nn.Module, rows: Tensor) -> nn.Module:
    """Return a module whose weights are made when it is first called as a copy that was called; any other as it is.

    Raises:
        DataError: it does not take rows of this shape.
    """
    if not is_lazy(module):
        return module
    module = copy.deepcopy(module)
    try:
        with torch.no_grad():
            module(rows)
    except Exception as fault:  # whatever the user's code raises
        raise DataError(
            f"{name}: has weights that are made when it is first called, and raises {type(fault).__name__} "
            f"({first_line(fault)}) for rows of shape {list(rows.shape[1:])}; call it once with rows as it takes them"
        ) from fault
    return module


def functional(exported: ExportedProgram) -> ExportedProgram:
    """Return a program without operators that write to what they are given; all others are as they were."""
    targets = [node.target for node in exported.graph_module.graph.nodes if node.op == "call_function"]
    schemas = [getattr(target, "_schema", None) for target in targets]
    changing = any(schema is not None and schema.is_mutable for schema in schemas)
    return exported.run_decompositions({}) if changing else exported


def program_from(name: str, exported: ExportedProgram, given: Tensor, keys: tuple[str, ...] = ()) -> Program:
    """Return the graph of an exported program with its values on rows ``[N, ...]`` as the module takes them.

    Raises:
        DataError: it takes something else than rows.
    """
    signature = exported.graph_signature
    kinds = {spec.arg.name: spec for spec in signature.input_specs}
    held = {**exported.state_dict, **exported.constants}
    nodes = tuple(exported.graph_module.graph.nodes)
    sources = [node for node in nodes if node.op == "placeholder" and kinds[node.name].kind is InputKind.USER_INPUT]
    if len(sources) != 1:
        raise DataError(f"{name}: takes {len(sources)} inputs; an autoencoder takes rows alone")
    arguments = [
        given if node is sources[0] else held[str(kinds[node.name].target)]
        for node in nodes
        if node.op == "placeholder"
    ]
    values: dict[Node, Any] = {}
    with torch.no_grad():
        Recording(exported.graph_module, values).run(*arguments)
    outputs = tuple(node for node in nodes[-1].args[0] if isinstance(node, Node))
    return Program(
        name=name,
        nodes=nodes,
        source=sources[0],
        outputs=outputs,
        keys=keys or tuple(map(str, range(len(outputs)))),
        values=values,
        given=tuple(given.shape[1:]),
    )


class Recording(Interpreter):
    """Run a graph and keep the value of each node; what is random gives its mean."""

    def __init__(self, graph: torch.fx.GraphModule, values: dict[Node, Any]) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.values = values

    def run_node(self, n: Node) -> Any:
        """Return the value of a node."""
        args, _ = self.fetch_args_kwargs_from_env(n)
        op = op_of(n)
        if is_on(n):
            found: Any = (args[0], None) if op == "native_dropout" else args[0]
        elif op == "normal":
            found = mean_of(args, n.meta["val"])
        elif op in NOISE:
            found = torch.zeros(n.meta["val"].shape)
        else:
            found = super().run_node(n)
        self.values[n] = found
        return found


def is_on(node: Node) -> bool:
    """Return whether a node is dropout that is on in evaluation mode: called without ``training=self.training``."""
    op = op_of(node)
    return op == "native_dropout" or (op in DROPOUT and bool(node.args[2]))


def mean_of(args: tuple[Any, ...], like: Tensor) -> Tensor:
    """Return the mean of what ``torch.normal`` draws."""
    mean = args[0] if args and isinstance(args[0], Tensor | float | int) else 0.0
    return torch.as_tensor(mean, dtype=torch.float32).expand(like.shape)


def op_of(node: Node) -> str:
    """Return the name of a node's operator, without its overload: ``conv2d``; of ``x[i]`` it is ``getitem``."""
    if node.op != "call_function":
        return ""
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet))


@dataclass(frozen=True)
class Form:
    """How rows of a run become those that a module takes."""

    axes: tuple[int, ...] = ()
    """Their order, without the first, which counts rows; empty: as they are."""
    shape: Shape = ()
    """What each row is then reshaped to; empty: not."""

    def given(self, rows: Tensor) -> Tensor:
        """Return rows ``[N, *shape]`` as the module takes them."""
        if self.axes:
            rows = rows.permute(0, *(axis + 1 for axis in self.axes))
        return rows.reshape(len(rows), *self.shape) if self.shape else rows


def forms(twin: nn.Module, shape: Shape) -> Iterator[Form]:
    """Yield the ways in which rows of ``shape`` may be given to a module, the likeliest first."""
    yield Form()
    size, first = int(torch.Size(shape).numel()), first_layer(twin)
    if len(shape) == 3 and shape[-1] <= 4:
        yield Form(axes=(2, 0, 1))
    if len(shape) == 2:
        yield Form(axes=(1, 0))
    if len(shape) < 3:
        yield Form(shape=(1, *shape))
    if len(shape) > 1:
        yield Form(shape=(size,))
    channels = int(getattr(first, "in_channels", 0) or getattr(first, "input_size", 0) or 0)
    if channels and size % channels == 0:
        places = size // channels
        side = int(places**0.5)
        if isinstance(first, nn.Conv2d) and side * side == places:
            yield Form(shape=(channels, side, side))
        if isinstance(first, nn.Conv1d):
            yield Form(shape=(channels, places))
        if isinstance(first, nn.RNNBase):
            yield Form(shape=(places, channels))


def first_layer(twin: nn.Module) -> nn.Module | None:
    """Return the first layer with weights, in the order of definition."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)
    return next((module for module in twin.modules() if isinstance(module, kinds)), None)


def fitting(name: str, twin: nn.Module, rows: Tensor) -> tuple[Called, Form]:
    """Return how a module is called, and how rows are given to it, so that it gives as many values as it takes.

    Raises:
        DataError: no way does.
    """
    ways = [None, *(names for names in PARTS if all(callable(getattr(twin, part, None)) for part in names))]
    tried: list[str] = []
    for parts in ways:
        for form in forms(twin, tuple(rows.shape[1:])):
            called, given = Called(twin, parts), form.given(rows)
            try:
                with torch.no_grad():
                    outputs = called(given)
            except Exception as fault:  # whatever the user's code raises
                tried.append(f"raises {type(fault).__name__} ({first_line(fault)})")
                continue
            if any(output.numel() == rows.numel() for output in outputs):
                return called, form
            shapes = ", ".join(str(list(output.shape[1:])) for output in outputs)
            tried.append(f"gives {shapes or 'no tensor'}")
    shape = list(rows.shape[1:])
    raise DataError(
        f"{name}: {tried[0]} for rows of shape {shape}; an autoencoder gives rows back: give a module whose forward "
        "does, or that has an encoder and a decoder, or give rows of the shape that it takes"
    )


@contextlib.contextmanager
def as_evaluated() -> Iterator[None]:
    """Run code of a module so that nothing else is changed by it: no draw, no warning, no line on stdout."""
    checked, level = torch.distributions.Distribution._validate_args, logging.root.manager.disable
    torch.distributions.Distribution.set_default_validate_args(False)
    logging.disable(logging.WARNING)
    try:
        with (
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sys.stderr),
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            yield
    finally:
        logging.disable(level)
        torch.distributions.Distribution.set_default_validate_args(checked)


def first_line(fault: Exception) -> str:
    """Return the first line of what an exception says, at most 160 characters."""
    lines = str(fault).strip().splitlines()
    return (lines[0] if lines else type(fault).__name__)[:160]
