"""Ready for a GPU, proved without one (ALGORITHMS: no host sync inside a generation).

On the "meta" device every host sync raises; under FakeTensorMode every operand on the wrong device does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from aecompress.evolve.generation import generation
from aecompress.evolve.select import most_unit_zeros
from aecompress.evolve.topology import neighbourhoods
from aecompress.registry import OPERATORS
from tests.evolve.plans import make_plan, make_population, make_rows

PUBLISHED = [{"operator": name, "schedule": "decrease"} for name, op in OPERATORS.items() if op.published]
TARGETED = [
    {"operator": name, "target": 0.6, "persistent": True, "optimizer": "adam", "granularity": granularity}
    for name in OPERATORS
    for granularity in ("weight", "unit")
]
CASES: list[dict[str, Any]] = [
    *PUBLISHED,
    *({**case, "asynchronous": True} for case in PUBLISHED),
    *TARGETED,
    *({**case, "regrowth": 0.5} for case in TARGETED),
    *({**case, "target": None, "targets": (0.0, 0.3, 0.5, 0.6), "rule": "dominance"} for case in TARGETED),
    {"shared_batch": True, "radius": 2, "noise": "input"},
    {"rule": "alone", "operator": "variance", "optimizer": "adam", "schedule": "decrease"},
]


@pytest.fixture(autouse=True)
def no_table_of_another_device() -> Iterator[None]:
    """Two devices that are made up have one name."""
    neighbourhoods.cache_clear()
    yield
    neighbourhoods.cache_clear()


def one_generation(changes: dict[str, Any], device: str) -> torch.Tensor:
    plan = make_plan(**changes)
    population = make_population(plan, 4, torch.float32, device)
    new, report = generation(plan, population, make_rows(torch.float32, device), lambda: None)
    assert {tensor.device.type for tensor in new.tensors().values()} == {device.partition(":")[0]}
    return report.validation_loss


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_a_whole_generation_makes_no_host_sync(changes: dict[str, Any]) -> None:
    assert one_generation(changes, "meta").shape == (4,)


def test_the_meta_device_would_show_a_sync() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(3, device="meta").sum().item()


class PlainIndexing(TorchFunctionMode):
    """Indexing, copy_ and ~ as operators: their Python bindings in a CPU build of torch refuse a fake CUDA tensor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            return self.select(*args)
        if func is torch.Tensor.__setitem__:
            return torch.ops.aten.copy_.default(self.select(*args[:2]), args[2])
        if func is torch.Tensor.copy_:
            return torch.ops.aten.copy_.default(*args)
        if func is torch.Tensor.__invert__:
            return torch.bitwise_not(*args)
        return func(*args, **(kwargs or {}))

    def select(self, tensor: torch.Tensor, index: Any) -> torch.Tensor:
        dim = 0
        parts = index if isinstance(index, tuple) else (index,)
        for position, part in enumerate(parts):
            if part is Ellipsis:
                dim = tensor.ndim - (len(parts) - position - 1)
            elif part is None:
                tensor = tensor.unsqueeze(dim)
                dim += 1
            elif isinstance(part, int):
                tensor = tensor.select(dim, part)
            elif isinstance(part, slice):
                first, last, _ = part.indices(tensor.shape[dim])
                tensor = tensor.narrow(dim, first, last - first)
                dim += 1
            else:
                tensor = tensor.index_select(dim, part)
                dim += 1
        return tensor


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_every_operand_of_a_generation_is_on_the_asked_device(changes: dict[str, Any]) -> None:
    most_unit_zeros(make_plan(**changes).net)  # kept from here on: a number of the network alone, not of a generation
    with FakeTensorMode(allow_non_fake_inputs=False), PlainIndexing():
        assert one_generation(changes, "cuda:0").device == torch.device("cuda:0")


def test_fake_tensors_would_show_a_stray_operand() -> None:
    with FakeTensorMode(), pytest.raises(RuntimeError):
        torch.bmm(torch.zeros(1, 2, 2, device="cuda:0"), torch.zeros(1, 2, 2))


def test_nothing_seeds_or_draws_from_global_state() -> None:
    script = (
        "import torch\nfrom tests.evolve.test_devices import one_generation\n"
        "state = torch.get_rng_state().clone()\none_generation({}, 'cpu')\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
