from __future__ import annotations

import dataclasses

import torch

from aecompress.assembly import threads_for
from tests.evolve.plans import make_plan


def test_a_small_step_takes_one_thread_and_a_large_one_all() -> None:
    plan = make_plan()
    assert threads_for(plan, 4, torch.device("cpu")) == 1
    large = dataclasses.replace(plan, training=dataclasses.replace(plan.training, batch=1_000_000))
    assert threads_for(large, 4, torch.device("cpu")) == torch.get_num_threads()
