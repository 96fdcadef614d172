"""How many cells, members, generations, and which budgets a spec has."""

from __future__ import annotations

from aecompress.evolve.topology import TOPOLOGIES
from aecompress.spec.fields import RunSpec, rule_facts, rule_of


def generations_of(spec: RunSpec) -> int:
    """Return the generations of a run; pruning in one shot is one without training."""
    return max(int(spec.train.epochs), 1)


def cells_of(spec: RunSpec) -> int:
    """Return the individuals of a run; one that must keep to a dense model's loss trains that beside it."""
    return spec.evolve.cells if spec.mode == "coevo" else 2 if spec.budget.max_loss_increase else 1


def budgets_of(spec: RunSpec) -> tuple[float, ...]:
    """Return the target sparsity of every cell."""
    if isinstance(spec.evolve.budgets, tuple) and spec.mode == "coevo":
        return spec.evolve.budgets
    if spec.mode == "canonical" and spec.budget.max_loss_increase:
        return 0.0, float(spec.prune.target_sparsity)
    return (float(spec.prune.target_sparsity),) * cells_of(spec)


def members_of(spec: RunSpec) -> int:
    """Return the members of a neighbourhood, n of the schedules; 1 under rules without space (ALGORITHMS A4)."""
    evolve = spec.evolve
    if not rule_facts(rule_of(spec)).spatial:
        return 1
    return len(TOPOLOGIES[evolve.topology](evolve.cells, evolve.radius).members)
