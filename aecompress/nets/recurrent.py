"""LSTM and GRU layers of a whole population: all cells take a step together, and go back in time by hand.

What a weight reads at each step stands in one tensor ``[P, T, B, below + out + 1]``, so that its gradient over all
steps is one product at the end. Each gate's gradient is linear in that of its unit: what it is multiplied with is
computed for all steps at once, before time goes backward. The tests hold both directions equal to torch's modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aecompress.layers.base import BoundLayer
from aecompress.layers.recurrent import Recurrent

aten = torch.ops.aten


class Steps(NamedTuple):
    """What a forward pass leaves for the backward one."""

    read: Tensor
    """What the weight reads at each step, ``[P, T, B, below + out + 1]``: the input, the units before, 1."""
    gates: Tensor
    """After their activations, ``[P, T, B, gates x out]``."""
    inner: Tensor
    """Of an LSTM its cells, zero before the first step, ``[P, T + 1, B, out]``; of a GRU what the new gate gets of the
    units before, ``[P, T, B, out]``."""


def sequences_of(layer: BoundLayer) -> bool:
    """Return whether a layer gives every step."""
    assert isinstance(layer.layer, Recurrent)
    return layer.layer.sequences


def gates_of(weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Return what ``below`` ``[P, T, B, width]`` gives to the gates, ``[P, T, B, columns]``."""
    found = torch.baddbmm(bias, below.flatten(1, 2), weight[:, : below.shape[3]])
    return found.view(*below.shape[:3], -1)


def of_steps(layer: BoundLayer, values: Tensor) -> Tensor:
    """Return what a layer gives of its units ``[P, T, B, out]``: ``[P, B, T, out]``, or the last ``[P, B, out]``."""
    return values.transpose(1, 2).contiguous() if sequences_of(layer) else values[:, -1].clone()


def read_by(layer: BoundLayer, below: Tensor) -> Tensor:
    """Return what the weight reads, from ``[P, B, T, below]``; the units at later steps are not set yet."""
    (cells, rows, steps, width), units = below.shape, layer.units
    read = below.new_empty((cells, steps, rows, width + units + 1))
    read[..., :width] = below.transpose(1, 2)
    read[:, 0, :, width:-1] = 0
    read[..., -1] = 1
    return read


def lstm_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Compute an LSTM's units from ``below`` ``[P, B, T, below]``: ``[P, B, T, out]``, or ``[P, B, out]``."""
    own = weight[:, below.shape[3] : -1]
    gates = gates_of(weight, bias + weight[:, -1:], below.transpose(1, 2))
    memory = gates.new_zeros(())
    found: list[Tensor] = []
    for step, now in enumerate(gates.unbind(1)):
        enter, leave, forget, new = (torch.baddbmm(now, found[-1], own) if step else now).chunk(4, 2)
        memory = torch.addcmul(forget.sigmoid() * memory, enter.sigmoid(), new.tanh())
        found.append(leave.sigmoid() * memory.tanh())
    return torch.stack(found, 2) if sequences_of(layer) else found[-1]


def lstm_record(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> tuple[Tensor, Steps]:
    """Compute the same, and return what :func:`lstm_backward` needs."""
    read, width, units = read_by(layer, below), below.shape[3], layer.units
    gates, own = gates_of(weight, bias + weight[:, -1:], read[..., :width]), weight[:, width:-1]
    cells, steps, rows, _ = read.shape
    values = read.new_empty((cells, steps, rows, units))
    memory = read.new_empty((cells, steps + 1, rows, units))
    memory[:, 0] = 0
    sigmoids, nows = gates[..., : 3 * units].unbind(1), gates.unbind(1)
    enters, leaves, forgets, news = (part.unbind(1) for part in torch.split(gates, units, 3))
    cell, value = memory.unbind(1), values.unbind(1)
    for step in range(steps):
        if step:
            nows[step].baddbmm_(value[step - 1], own)
        sigmoids[step].sigmoid_()
        news[step].tanh_()
        torch.mul(forgets[step], cell[step], out=cell[step + 1]).addcmul_(enters[step], news[step])
        torch.mul(leaves[step], cell[step + 1].tanh(), out=value[step])
    read[:, 1:, :, width:-1] = values[:, :-1]
    return of_steps(layer, values), Steps(read, gates, memory)


def lstm_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], steps: Steps, delta: Tensor, needed: bool
) -> Tensor | None:
    """Go backward through an LSTM and its steps."""
    units, width = layer.units, steps.read.shape[3] - layer.units - 1
    own = weight[:, width:-1].transpose(1, 2)
    squashed = steps.inner[:, 1:].tanh()
    enter, leave, forget, new = torch.split(steps.gates, units, 3)
    grads = torch.empty_like(steps.gates)  # of the gates before their activations; first what they are multiplied with
    at_enter, at_leave, at_forget, at_new = torch.split(grads, units, 3)
    aten.sigmoid_backward(new, enter, grad_input=at_enter)
    aten.sigmoid_backward(steps.inner[:, :-1], forget, grad_input=at_forget)
    aten.tanh_backward(enter, new, grad_input=at_new)
    aten.sigmoid_backward(squashed, leave, grad_input=at_leave)
    to_memory = aten.tanh_backward(leave, squashed, grad_input=squashed)
    into_enter, into_leave = at_enter.unbind(1), at_leave.unbind(1)
    into_both = torch.unflatten(grads[..., 2 * units :], 3, (2, units)).unbind(1)  # forget gate and cell
    values, forgets, by_value = value_gradients(layer, delta, grads, own), forget.unbind(1), to_memory.unbind(1)
    memory = torch.zeros_like(by_value[0])
    for step, value in values:
        memory.addcmul_(value, by_value[step])
        into_enter[step].mul_(memory)
        into_both[step].mul_(memory[:, :, None])
        into_leave[step].mul_(value)
        memory.mul_(forgets[step])
    flat, read = grads.flatten(1, 2), steps.read.flatten(1, 2)
    into = gradients[layer.name + ".weight"]
    torch.bmm(read.transpose(1, 2), flat, out=into)
    gradients[layer.name + ".bias"].copy_(into[:, -1:])
    return at_input(weight[:, :width], flat, steps) if needed else None


def value_gradients(layer: BoundLayer, delta: Tensor, gates: Tensor, own: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the steps from the last one, and the gradient at the units of each, ``[P, B, out]``.

    Args:
        gates: gradients ``[P, T, B, columns]`` of the gates; when a step is taken, the later ones must be there.
        own: weights by which the gates read the units, ``[P, columns, out]``.
    """
    each = gates.unbind(1)
    last = len(each) - 1
    given = delta.unbind(2) if sequences_of(layer) else (delta,)
    yield last, given[-1].clone()
    for step in range(last - 1, -1, -1):
        later = each[step + 1]
        yield step, torch.baddbmm(given[step], later, own) if len(given) > 1 else torch.bmm(later, own)


def at_input(weight: Tensor, gates: Tensor, steps: Steps) -> Tensor:
    """Return the gradient at the input, ``[P, B, T, below]``, from that of the gates ``[P, T x B, columns]``."""
    found = torch.bmm(gates, weight.transpose(1, 2))
    return found.view(*steps.read.shape[:3], -1).transpose(1, 2).contiguous()


def gru_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Compute a GRU's units from ``below`` ``[P, B, T, below]``: ``[P, B, T, out]``, or ``[P, B, out]``."""
    own, second, units = weight[:, below.shape[3] : -1], weight[:, -1:], layer.units
    gates = gates_of(weight, bias, below.transpose(1, 2))
    values, found = gates.new_zeros((*gates.shape[:1], gates.shape[2], units)), []
    for now in gates.unbind(1):
        before = torch.baddbmm(second, values, own)
        update, reset = (now[..., : 2 * units] + before[..., : 2 * units]).sigmoid().chunk(2, 2)
        new = torch.addcmul(now[..., 2 * units :], reset, before[..., 2 * units :]).tanh()
        values = torch.lerp(new, values, update)
        found.append(values)
    return torch.stack(found, 2) if sequences_of(layer) else values


def gru_record(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> tuple[Tensor, Steps]:
    """Compute the same, and return what :func:`gru_backward` needs."""
    read, width, two = read_by(layer, below), below.shape[3], 2 * layer.units
    own, second = weight[:, width:-1], weight[:, -1:]
    both = bias.clone()
    both[..., :two] += second[..., :two]
    gates = gates_of(weight, both, read[..., :width])
    cells, steps, rows, _ = read.shape
    values, inner = (read.new_empty((cells, steps, rows, layer.units)) for _ in range(2))
    inner[:] = second[:, None, :, two:]
    sigmoids, news = gates[..., :two].unbind(1), gates[..., two:].unbind(1)
    updates, resets = gates[..., : layer.units].unbind(1), gates[..., layer.units : two].unbind(1)
    value, own_new = (read[:, 0, :, width:-1], *values.unbind(1)), inner.unbind(1)
    for step, before in enumerate(value[:-1]):
        if step:
            sigmoids[step].baddbmm_(before, own[..., :two])
            own_new[step].baddbmm_(before, own[..., two:])
        sigmoids[step].sigmoid_()
        news[step].addcmul_(resets[step], own_new[step]).tanh_()
        torch.lerp(news[step], before, updates[step], out=value[step + 1])
    read[:, 1:, :, width:-1] = values[:, :-1]
    return of_steps(layer, values), Steps(read, gates, inner)


def gru_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], steps: Steps, delta: Tensor, needed: bool
) -> Tensor | None:
    """Go backward through a GRU and its steps."""
    units, width = layer.units, steps.read.shape[3] - layer.units - 1
    update, reset, new = torch.split(steps.gates, units, 3)
    cells, count, rows, _ = steps.gates.shape
    # Gradients before the activations of: new by the units before, update, reset, new by the input.
    grads = steps.gates.new_empty((cells, count, rows, 4 * units))
    at_inner, at_update, at_reset, at_new = torch.split(grads, units, 3)
    aten.tanh_backward(1 - update, new, grad_input=at_new)
    torch.mul(at_new, reset, out=at_inner)
    aten.sigmoid_backward(at_new * steps.inner, reset, grad_input=at_reset)
    aten.sigmoid_backward(steps.read[..., width:-1] - new, update, grad_input=at_update)
    own = weight[:, width:-1].roll(units, 2).transpose(1, 2)
    by_gate, by_own, updates = (
        torch.unflatten(grads, 3, (4, units)).unbind(1),
        grads[..., : 3 * units],
        update.unbind(1),
    )
    later = None
    for step, value in value_gradients(layer, delta, by_own, own):
        if later is not None:
            value.addcmul_(later, updates[step + 1])
        by_gate[step].mul_(value[:, :, None])
        later = value
    into, read = gradients[layer.name + ".weight"], steps.read.flatten(1, 2).transpose(1, 2)
    from_below, from_own = grads[..., units:].flatten(1, 2), by_own.flatten(1, 2)
    into[:, :width] = torch.bmm(read[:, :width], from_below)
    into[:, width:] = torch.bmm(read[:, width:], from_own).roll(-units, 2)
    torch.sum(from_below, 1, keepdim=True, out=gradients[layer.name + ".bias"])
    return at_input(weight[:, :width], from_below, steps) if needed else None


def repeat_forward(layer: BoundLayer, weight: Tensor, bias: Tensor, below: Tensor) -> Tensor:
    """Copy ``below`` ``[P, B, units]`` to every step, ``[P, B, times, units]``."""
    return below[:, :, None].expand(-1, -1, layer.gives[0], -1).contiguous()


def repeat_backward(
    layer: BoundLayer, weight: Tensor, gradients: Mapping[str, Tensor], below: Tensor, delta: Tensor, needed: bool
) -> Tensor | None:
    """Sum the gradient over the steps."""
    return delta.sum(2) if needed else None


class LstmModule(nn.LSTM):
    """``nn.LSTM`` as a layer from rows ``[N, D]`` to rows."""

    def __init__(self, layer: BoundLayer) -> None:
        super().__init__(layer.given[1], layer.units, batch_first=True)
        self.layer = layer

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        """Return the units at every step, or at the last one."""
        values, _ = super().forward(torch.unflatten(rows, 1, self.layer.given))
        return values.flatten(1) if sequences_of(self.layer) else values[:, -1]


class GruModule(nn.GRU):
    """``nn.GRU`` as a layer from rows ``[N, D]`` to rows."""

    def __init__(self, layer: BoundLayer) -> None:
        super().__init__(layer.given[1], layer.units, batch_first=True)
        self.layer = layer

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        """Return the units at every step, or at the last one."""
        values, _ = super().forward(torch.unflatten(rows, 1, self.layer.given))
        return values.flatten(1) if sequences_of(self.layer) else values[:, -1]
