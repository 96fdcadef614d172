"""Which model a run exports, and what it must meet."""

from __future__ import annotations

from dataclasses import dataclass

from aecompress.plan.counts import budgets_of
from aecompress.spec.fields import RunSpec


@dataclass(frozen=True)
class Goal:
    """Which model a run exports, and what it must meet."""

    budgets: tuple[float, ...]
    """Target sparsity of every cell."""
    target: float
    """Sparsity of the cells that count as the run's."""
    required_sparsity: float
    """Least sparsity of the exported model."""
    max_loss_increase: float
    """Largest rise of the loss above that of the dense cell, as a share; 0: no limit."""
    max_params: int
    """Most weights and biases that are not zero; 0: no limit."""
    max_bytes: int
    """Most bytes of the smallest exported file; 0: no limit."""

    @property
    def dense_cell(self) -> int:
        """Return the cell that is not pruned, where the loss has a limit."""
        return self.budgets.index(0.0)


def goal_of(spec: RunSpec) -> Goal:
    """Return the goal of a complete spec."""
    budget, target = spec.budget, float(spec.prune.target_sparsity)
    if budget.max_loss_increase:
        required = float(budget.min_sparsity)
    else:
        required = target if spec.prune.drive == "target" else 0.0
    return Goal(
        budgets=budgets_of(spec),
        target=target,
        required_sparsity=required,
        max_loss_increase=budget.max_loss_increase,
        max_params=budget.max_params,
        max_bytes=budget.max_bytes,
    )
