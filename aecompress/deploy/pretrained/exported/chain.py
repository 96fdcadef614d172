"""The one way from the rows to their reconstruction in a graph, back from its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.fx import Node

from aecompress.deploy.pretrained.exported.place import label_of, refusal
from aecompress.deploy.pretrained.exported.program import NOISE, Program, op_of
from aecompress.errors import DataError

NAMES = ("recon", "x_hat", "xhat", "x_rec", "decoded", "output", "out", "y")
"""Beginnings of keys under which a module gives reconstructions, beside other values of the same size."""
SUMS = frozenset({"add", "sub"})
GATES = frozenset({"mul", "div"})
JOINS = frozenset({"cat", "stack"})


def reconstruction(program: Program) -> Node:
    """Return the node that is the reconstruction: as many values as the rows have, and not the rows themselves.

    Of several, the one that is called so, else the first.

    Raises:
        DataError: there is none.
    """
    size = program.values[program.source].numel()
    found = [
        (key, node)
        for key, node in zip(program.keys, program.outputs, strict=True)
        if program.values[node].numel() == size and undone(node) is not program.source
    ]
    named = [node for key, node in found if key.lower().startswith(NAMES)]
    if not found:
        raise DataError(f"{program.name}: gives its rows back as they are; give a module with layers")
    return named[0] if named else found[0][1]


def undone(node: Node) -> Node:
    """Return the node that ``node`` is a copy or another view of."""
    while op_of(node) in ("clone", "alias", "detach", "view", "reshape") and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def dynamic(program: Program) -> set[Node]:
    """Return the nodes whose values depend on the rows; noise does not, and what is multiplied by its mean 0 is 0."""
    found = {program.source}
    for node in program.nodes:
        inputs = [each for each in node.all_input_nodes if each in found]
        op = op_of(node)
        if op in NOISE:
            inputs = [each for each in inputs if op == "normal" and each is node.args[0]]
        if op == "mul" and any(is_zero(program, each) for each in node.all_input_nodes if each not in found):
            inputs = []
        if inputs:
            found.add(node)
    return found


def is_zero(program: Program, node: Node) -> bool:
    """Return whether a node that does not depend on the rows is 0 everywhere."""
    value = program.values.get(node)
    return isinstance(value, Tensor) and not bool(torch.any(value != 0))


class Link(NamedTuple):
    """A node of a chain, with the node whose value it reads."""

    node: Node
    below: Node
    sides: tuple[Node, ...] = ()
    """Of a sum, the two nodes that are added, which are both made of ``below``."""


Below = dict[Node, Link | DataError]
"""What each node that depends on the rows reads; an error where there is none."""


def chain_of(program: Program, end: Node) -> tuple[list[Link], Below]:
    """Return the links from the rows to ``end``, first to last, and those of all nodes.

    Raises:
        DataError: naming a node that reads several values which depend on the rows, or that ``end`` does not.
    """
    moving = dynamic(program)
    if end not in moving:
        raise DataError(f"{program.name}: its output does not depend on the rows; give a module with layers")
    links: Below = {}
    for node in program.nodes:
        if node in moving and node is not program.source:
            try:
                links[node] = link_of(program, node, moving, links)
            except DataError as fault:
                links[node] = fault
    return between(links, program.source, end), links


def between(links: Below, start: Node, end: Node) -> list[Link]:
    """Return the links from ``start`` to ``end``, first to last.

    Raises:
        DataError: one of them has an error.
    """
    found: list[Link] = []
    while end is not start:
        link = links[end]
        if isinstance(link, DataError):
            raise link
        found.append(link)
        end = link.below
    return found[::-1]


def link_of(program: Program, node: Node, moving: set[Node], links: Below) -> Link:
    """Return what a node of the graph reads.

    Raises:
        DataError: it reads several values, and is no sum of two that are made of one.
    """
    if op_of(node) == "getitem" and op_of(node.all_input_nodes[0]) == "broadcast_tensors":
        item: Node = node.all_input_nodes[0].args[0][node.args[1]]  # type: ignore[index,assignment]
        return Link(node, item)
    if op_of(node) == "normal":
        mean: Node = node.args[0]  # type: ignore[assignment]
        return Link(node, mean)
    inputs = [each for each in node.all_input_nodes if each in moving]
    if len(inputs) == 1:
        return Link(node, inputs[0])
    spelled = spelled_out(node)
    if spelled is not None:
        return Link(node, spelled[1])
    if op_of(node) in SUMS and len(inputs) == 2:
        fork = forked(links, program.source, inputs[0], inputs[1])
        return Link(node, fork, (inputs[0], inputs[1]))
    raise several(program.name, node, inputs)


def forked(links: Below, source: Node, one: Node, other: Node) -> Node:
    """Return the last node that two nodes are both made of.

    Raises:
        DataError: one of the nodes before them has an error.
    """
    seen = {source, one, *(link.below for link in between(links, source, one))}
    while other not in seen:
        link = links[other]
        if isinstance(link, DataError):
            raise link
        other = link.below
    return other


def spelled_out(node: Node) -> tuple[str, Node] | None:
    """Return the activation that two operators compute of one value, and that value; None where they are none.

    They are x * sigmoid(x), and x / (1 + |x|), as torch spells softsign.
    """
    if op_of(node) not in GATES or not all(isinstance(each, Node) for each in node.args[:2]):
        return None
    for x, other in (node.args[:2], node.args[1::-1]):
        assert isinstance(x, Node)
        assert isinstance(other, Node)
        if op_of(node) == "mul" and op_of(other) == "sigmoid" and other.args[0] is x:
            return "silu", x
        if op_of(node) == "div" and op_of(other) == "add" and op_of(other.args[0]) == "abs":  # type: ignore[arg-type]
            absolute = other.args[0]
            if isinstance(absolute, Node) and absolute.args[0] is x is node.args[0] and other.args[1] == 1:
                return "softsign", x
    return None


def several(name: str, node: Node, inputs: Iterable[Node]) -> DataError:
    """Return the error for a node that reads several values."""
    op, ends = op_of(node), " and ".join(label_of(each) for each in inputs)
    if op in JOINS:
        why = f"joins {ends}: a skip connection, and layers here follow each other in one chain"
        cure = "let the layer read one of them alone and train the module again"
    elif "attention" in op or op in ("matmul", "bmm", "softmax"):
        why = f"combines {ends}: attention, which no layer kind computes"
        cure = "use dense, convolutional or recurrent layers"
    else:
        why = f"combines {ends}, and layers here follow each other in one chain"
        cure = "let each step of forward read the result of the one before it alone"
    return refusal(name, node, why, cure)
