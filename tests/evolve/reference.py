"""The published method (ALGORITHMS A), slow and plain: a loop over single torch modules with the draws of the run.

Nothing here is shared with the engine but the random draws, so the two can only agree by computing the same thing.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from aecompress import rng
from tests.modules import Plain

LOSSES = {"l1": functional.l1_loss, "mse": functional.mse_loss, "bce": functional.binary_cross_entropy}


def one(cell: int) -> Tensor:
    return torch.tensor([cell])


def hooked(module: Plain, rows: Tensor) -> list[Tensor]:
    """Activations of every layer, the output layer's before its sigmoid."""
    values, seen = rows, []
    linears = [*module.encoder, *module.decoder]
    for index, linear in enumerate(linears):
        pre = linear(values)
        last = index == len(linears) - 1
        values = pre if last else module._chain([torch.nn.Identity()], [module.net.layers[index]], pre)
        seen.append(values.detach())
    return seen


def schedule(name: str, t: int, p: float, final: int, n: int) -> float:
    if final == 0:
        return p
    return {
        "fixed": p,
        "increase": p * t / final,
        "decrease": 1 - p * t / final,
        "exponential": p * (1 - math.exp(-2 * t / final)),
        "final_n": p if t >= 0.75 * final else 0.0,
        "prune_after": p if t >= final else 0.0,
        "population": p * t / (final * n),
    }[name]


def random_prune(module: Plain, seed: int, t: int, cell: int, amount: float = 0.1) -> None:
    draws = rng.uniform(seed, "random-score", t, one(cell), 0, (module.net.model_size,))[0]
    first = 0
    for linear in [*module.encoder, *module.decoder]:
        for tensor in (linear.weight, linear.bias):
            size = tensor.numel()
            mine = draws[first : first + size]
            first += size
            gone = sorted(range(size), key=lambda i: (float(mine[i]), i))[: round(amount * size)]
            flat = tensor.data.T.reshape(-1).clone() if tensor.ndim == 2 else tensor.data.clone()
            flat[gone] = 0
            tensor.data.copy_(flat.view(tensor.shape[::-1]).T if tensor.ndim == 2 else flat)


def variance_prune(module: Plain, stored: list[list[Tensor]], seed: int, t: int, cell: int) -> None:
    """``stored``: per batch, the activations of every layer ``[B, out]``."""
    draws = rng.uniform(seed, "variance", t, one(cell), 0, (module.net.model_size,))[0]
    first = 0
    batch = max(seen[0].shape[0] for seen in stored)
    for index, linear in enumerate([*module.encoder, *module.decoder]):
        inputs, outputs = linear.in_features, linear.out_features
        score = np.zeros(outputs)
        for position in range(batch):
            values = np.stack([s[index][position].numpy() for s in stored if position < s[index].shape[0]])
            score += values.astype(np.float64).std(0)
        q = 1 - score
        if q.max() > q.min():
            q = (q - q.min()) / (q.max() - q.min())
        mine = draws[first : first + (inputs + 1) * outputs].numpy().reshape(inputs + 1, outputs)
        first += (inputs + 1) * outputs
        for unit in range(outputs):
            for source in range(inputs + 1):
                if not q[unit] > mine[source, unit]:
                    if source < inputs:
                        linear.weight.data[unit, source] = 0
                    else:
                        linear.bias.data[unit] = 0


def conjunctive_prune(module: Plain, guide: Tensor, seed: int, t: int, cell: int, threshold: float = 0.1) -> None:
    index = rng.integers(seed, "guide", t, one(cell), 0, (100,), high=guide.shape[0])[0]
    activations = hooked(module, guide[index])
    for linear, values in zip([*module.encoder, *module.decoder], activations, strict=True):
        left: set[int] | None = None
        for row in values:
            low, high = float(row.min()), float(row.max())
            if low == high:
                candidates = set()
            else:
                candidates = {
                    unit for unit, value in enumerate(((row - low) / (high - low)).tolist()) if value < threshold
                }
            if left is None:
                left = candidates
            elif len(left) <= 1:
                break
            else:
                left &= candidates
        for unit in left or ():
            linear.weight.data[unit] = 0
            linear.bias.data[unit] = 0


GRIDS = {4: (2, 2), 6: (2, 3), 7: (1, 7), 12: (3, 4)}
"""Rows and columns by the number of cells."""
STEPS = {
    "von-neumann": [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)],
    "moore": [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)],
}
"""Rows down and columns right to the members of a neighbourhood of radius 1."""


def neighbourhood(topology: str, cell: int, size: int, radius: int) -> list[int]:
    if topology == "ring":
        places = [0]
        for distance in range(1, radius + 1):
            places += [distance, -distance]
        return [(cell + place) % size for place in places]
    rows, columns = GRIDS[size]
    return [
        (cell // columns + down) % rows * columns + (cell % columns + right) % columns
        for down, right in STEPS[topology]
    ]


def paired(encoder: Plain, decoder: Plain) -> Plain:
    """A module that shares the networks of two."""
    pair = copy.copy(encoder)
    pair._modules = {**encoder._modules, "decoder": decoder._modules["decoder"]}
    return pair


class Ring:
    """A ring of modules and the visit of one cell, step by step as ALGORITHMS A4 counts them."""

    def __init__(self, modules: list[Plain], rows: Tensor, guide: Tensor, seed: int, settings: dict) -> None:
        self.centres = modules
        self.rates = [settings["lr"]] * len(modules)
        self.capacity = [1.0] * len(modules)
        self.rows, self.guide, self.seed, self.s = rows, guide, seed, settings

    def generation(self, t: int) -> tuple[list[int], list[bool]]:
        size = len(self.centres)
        if self.s["rule"] == "panmictic":
            return self.epoch(t)
        before = [copy.deepcopy(module) for module in self.centres]
        capacity = list(self.capacity)
        asynchronous = self.s["asynchronous"]
        order = list(range(size))
        if asynchronous and t > 0:
            order = rng.host(self.seed, "visits", t).permutation(size).tolist()
        parents, pruned = [0] * size, [False] * size
        for cell in order:
            seen = self.centres if asynchronous else before
            parents[cell], pruned[cell] = self.visit(t, cell, seen, self.capacity if asynchronous else capacity)
        for cell in range(size):
            step = float(rng.normal(self.seed, "rate-walk", t, one(cell), 0, ())[0])
            self.rates[cell] = min(max(self.rates[cell] + self.s["walk"] * step, 1e-9), 10.0)
        return parents, pruned

    def visit(self, t: int, cell: int, seen: list[Plain], capacity: list[float]) -> tuple[int, bool]:
        s, size, batch = self.s, len(self.centres), self.s["batch"]
        members = neighbourhood(s["topology"], cell, size, s["radius"])
        n = len(members)
        order = rng.permutation(self.seed, "selection", t, one(cell), 0, len(self.rows))[0]
        x = self.rows[order[:batch]]
        loss = LOSSES[s["loss"]]
        fitness = []
        for k in members:
            losses = [float(loss(seen[j].decode(seen[k].encode(x)), x).detach()) for j in members]
            fitness.append({"best": min, "worst": max, "mean": lambda v: sum(v) / len(v)}[s["concept"]](losses))
        drawn = rng.integers(self.seed, "tournament", t, one(cell), 0, (s["tournament"],), high=n)[0].tolist()
        winner = drawn[0]
        for rival in drawn[1:]:
            if fitness[rival] <= fitness[winner]:
                winner = rival
        parent = members[winner]
        company = [copy.deepcopy(seen[member]) for member in members]
        module = company[winner]
        self.capacity[cell] = capacity[parent]
        stored = [hooked(module, x)]

        strength = schedule(s["schedule"], t, s["p"], s["generations"] - 1, n)
        triggered = strength > rng.host(self.seed, "prune", t).random(cell + 1)[cell]
        if s["rule"] == "pair-prune-first" and triggered:
            self.prune(module, stored, t, cell)
        shuffled = rng.permutation(self.seed, "batches", t, one(cell), 0, len(self.rows))[0]
        for step, index in enumerate(shuffled.split(batch)):
            if s["rule"] == "opponents":
                drawn = rng.integers(self.seed, "opponents", t, one(cell), step, (2,), high=n)[0].tolist()
                first = self.update(paired(module, company[drawn[0]]), self.rows[index], self.rates[cell])
                second = self.update(paired(company[drawn[1]], module), self.rows[index], self.rates[cell])
                inner = len(module.encoder)
                stored.append(first[:inner] + second[inner:])
                continue
            adam = torch.optim.Adam(module.parameters(), lr=self.rates[cell])
            stored.append(hooked(module, self.rows[index]))
            loss(module(self.rows[index]), self.rows[index]).backward()
            adam.step()
            adam.zero_grad()
        if s["rule"] != "pair-prune-first" and triggered:
            self.prune(module, stored, t, cell)
        self.centres[cell] = module
        return parent, triggered

    def update(self, module: Plain, x: Tensor, rate: float) -> list[Tensor]:
        """One step of a fresh Adam; what the layers gave before it."""
        seen = hooked(module, x)
        adam = torch.optim.Adam(module.parameters(), lr=rate)
        LOSSES[self.s["loss"]](module(x), x).backward()
        adam.step()
        adam.zero_grad()
        return seen

    def epoch(self, t: int) -> tuple[list[int], list[bool]]:
        """A panmictic population: every encoder with every decoder."""
        size, inner = len(self.centres), len(self.centres[0].encoder)
        encoded: list[list[list[Tensor]]] = [[] for _ in range(size)]
        decoded: list[list[list[Tensor]]] = [[] for _ in range(size)]
        for e in rng.host(self.seed, "visits", t).permutation(size).tolist():
            for d in range(size):
                shuffled = rng.permutation(self.seed, "batches", t, one(e * size + d), 0, len(self.rows))[0]
                for index in shuffled.split(self.s["batch"]):
                    pair = paired(self.centres[e], self.centres[d])
                    seen = self.update(pair, self.rows[index], self.rates[0])
                    self.update(pair, self.rows[index], self.rates[0])
                    encoded[e].append(seen[:inner])
                    decoded[d].append(seen[inner:])
        strength = schedule(self.s["schedule"], t, self.s["p"], self.s["generations"] - 1, 1)
        triggered = [strength > draw for draw in rng.host(self.seed, "prune", t).random(size)]
        for cell in range(size):
            if triggered[cell]:
                stored = [first + second for first, second in zip(encoded[cell], decoded[cell], strict=True)]
                self.prune(self.centres[cell], stored, t, cell)
        step = float(rng.normal(self.seed, "rate-walk", t, one(0), 0, ())[0])
        self.rates = [min(max(self.rates[0] + self.s["walk"] * step, 1e-9), 10.0)] * size
        return list(range(size)), triggered

    def prune(self, module: Plain, stored: list[list[Tensor]], t: int, cell: int) -> None:
        with torch.no_grad():
            if self.s["operator"] == "random":
                random_prune(module, self.seed, t, cell)
            elif self.s["operator"] == "variance":
                variance_prune(module, stored, self.seed, t, cell)
            else:
                conjunctive_prune(module, self.guide, self.seed, t, cell)
        values = torch.cat([p.reshape(-1) for p in module.parameters()])
        self.capacity[cell] = float((values != 0).double().mean())
