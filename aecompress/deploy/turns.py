"""Transposes that a graph can do without: two that follow each other are one, and one that changes nothing is none."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

TRANSPOSE = "Transpose"


def without_needless_turns(nodes: Sequence[onnx.NodeProto], first: str, last: str) -> list[onnx.NodeProto]:
    """Return nodes that compute the same with as few Transposes as follow from their order.

    Args:
        first, last: names of the graph's input and output, which stay.
    """
    if not any(node.op_type == TRANSPOSE for node in nodes):
        return list(nodes)
    kept: list[onnx.NodeProto] = []
    orders: dict[str, tuple[str, list[int]]] = {}
    same: dict[str, str] = {}
    for node in nodes:
        node = renamed(node, same)
        if node.op_type != TRANSPOSE:
            kept.append(node)
            continue
        (source,), (result,) = node.input, node.output
        order = order_of(node)
        if source in orders:
            source, before = orders[source]
            order = [before[at] for at in order]
        orders[result] = source, order
        if order == sorted(order) and result != last:
            same[result] = source
        elif order == sorted(order) and source != first:
            names = {source: last}
            kept = [renamed(one, names) for one in kept]
            orders = {name: (names.get(below, below), turn) for name, (below, turn) in orders.items()}
            same = {name: names.get(below, below) for name, below in same.items()} | names
        else:
            kept.append(helper.make_node(TRANSPOSE, [source], [result], name=node.name, perm=order))
    return used(kept, last)


def order_of(node: onnx.NodeProto) -> list[int]:
    """Return the order of axes of a Transpose."""
    (order,) = (attribute.ints for attribute in node.attribute if attribute.name == "perm")
    return list(order)


def renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """Return a node with other names of values."""
    if names.keys().isdisjoint([*node.input, *node.output]):
        return node
    found = onnx.NodeProto()
    found.CopyFrom(node)
    found.input[:] = [names.get(name, name) for name in node.input]
    found.output[:] = [names.get(name, name) for name in node.output]
    return found


def used(nodes: Sequence[onnx.NodeProto], last: str) -> list[onnx.NodeProto]:
    """Return the nodes without Transposes whose result nothing reads."""
    read = {name for node in nodes for name in node.input} | {last}
    return [node for node in nodes if node.op_type != TRANSPOSE or node.output[0] in read]
