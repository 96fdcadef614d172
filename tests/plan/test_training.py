from __future__ import annotations

from pathlib import Path

import pytest

from aecompress.engines.quantized import Quantization, Quantized
from aecompress.plan.training import loss_of, rate_of, warmup_cosine
from aecompress.runs.job import prepare
from aecompress.spec.fields import RunSpec, TrainSpec
from aecompress.spec.resolve import resolve


def test_warmup_and_cosine_by_hand() -> None:
    rate = warmup_cosine(0.2)
    assert rate(0.1) == pytest.approx(0.5, abs=1e-3)
    assert rate(0.2) == pytest.approx(1.0)
    assert rate(0.6) == pytest.approx(0.5)
    assert rate(1.0) == pytest.approx(0.0)
    assert 0 < rate(0.0) < 0.01


def test_steps_fall_between_generations_alone() -> None:
    rate = rate_of(RunSpec(train=TrainSpec(rate="step", epochs=10, drops=4, drop=0.1)))
    assert [round(rate(generation / 10), 6) for generation in range(10)] == [
        1,
        1,
        1,
        0.1,
        0.1,
        0.01,
        0.01,
        0.01,
        1e-3,
        1e-3,
    ]
    assert rate(0.25) == rate(0.2)
    assert rate_of(RunSpec(train=TrainSpec(rate="walk", epochs=10)))(0.7) == 1.0


def test_cross_entropy_gives_way_to_l1() -> None:
    loss = loss_of("bce-then-l1", 3)
    assert [loss(generation) for generation in range(5)] == ["bce", "bce", "bce", "l1", "l1"]
    assert loss_of("mse", 3)(4) == "mse"


def test_rounding_begins_in_the_last_fifth_of_a_run(tmp_path: Path) -> None:
    for epochs, start in ((30, 24), (10, 8), (3, 2), (1, 0)):
        fields = {"train.epochs": epochs, "train.bits": 3, "mode": "canonical"}
        plan = prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run").plan
        assert plan.quantization == Quantization(values=(8,) * 4, start=start)
        assert plan.at(start - 1) is plan and isinstance(plan.at(start).engine, Quantized)
