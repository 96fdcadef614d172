from __future__ import annotations

import pytest
import torch

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.plan.auto import complete
from aecompress.plan.facts import RunFacts
from aecompress.runs.job import choose_device
from aecompress.spec.resolve import resolve

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(("epochs", "device"), [(400, CUDA), (1, CPU)])
def test_a_long_run_takes_the_gpu_and_a_short_one_the_cpu(epochs: int, device: torch.device) -> None:
    facts = RunFacts(data=Facts(rows=100, inputs=1000, binary=True, unit=True))
    resolved = resolve({"train.epochs": ("test", epochs)}, preset="paper-coevo-sync")
    assert choose_device(resolved, facts, [CUDA, CPU]) == device
    assert choose_device(resolved, facts, [CPU]) == CPU


def test_a_device_is_chosen_before_the_complete_spec_is_checked() -> None:
    facts = RunFacts(data=Facts(rows=100, inputs=1000, binary=False, unit=False))
    resolved = resolve({"train.loss": ("test", "bce"), "train.epochs": ("test", 1)})
    assert choose_device(resolved, facts, [CUDA, CPU]) == CPU
    with pytest.raises(SpecError, match="bce"):
        complete(resolved, facts)
