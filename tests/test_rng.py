"""Draws: named by their key, equal to a plain-integer oracle, and random by the usual tests."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from aecompress import rng

WORD = (1 << 64) - 1
KEY = {"seed": 3, "purpose": "batches", "generation": 5, "step": 7}
OTHER = {"seed": 4, "purpose": "noise", "generation": 6, "step": 8}


def draw(key: dict, cells: list[int], shape: tuple[int, ...]) -> Tensor:
    return rng.bits(key["seed"], key["purpose"], key["generation"], torch.tensor(cells), key["step"], shape)


def splitmix64(state: int, count: int) -> list[int]:
    """The generator as its paper prints it, on Python integers."""
    words = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        words.append(z ^ (z >> 31))
    return words


def finalised(word: int) -> int:
    """The last step of SplitMix64 alone: the output of a state that has already been advanced to ``word``."""
    return splitmix64((word - 0x9E3779B97F4A7C15) & WORD, 1)[0]


def oracle(seed: int, purpose: str, generation: int, cell: int, step: int, count: int) -> list[int]:
    """What :func:`rng.bits` promises, without tensors: fold the key, mix in the cell, run SplitMix64 from there."""
    code = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    key = 0
    for word in (seed, code, generation, step):
        key = splitmix64((key + word) & WORD, 1)[0]
    return splitmix64(finalised(finalised(cell + 1) ^ key), count)


def test_the_oracle_gives_the_published_words_of_splitmix64() -> None:
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(
    seed=st.integers(0, (1 << 63) - 1),
    purpose=st.text(max_size=12),
    generation=st.integers(0, 1 << 40),
    step=st.integers(0, 1 << 40),
    cells=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=4),
    size=st.integers(1, 9),
)
@settings(deadline=None, max_examples=50)
def test_bits_equal_splitmix64_on_plain_integers(
    seed: int, purpose: str, generation: int, step: int, cells: list[int], size: int
) -> None:
    words = rng.bits(seed, purpose, generation, torch.tensor(cells), step, (size,))
    for row, cell in zip(words.tolist(), cells, strict=True):
        assert [word & WORD for word in row] == oracle(seed, purpose, generation, cell, step, size)


def test_bits_of_a_key_never_change() -> None:
    words = rng.bits(0, "golden", 1, torch.tensor([0, 2]), 3, (2,))
    assert words.tolist() == [
        [7961034509706425938, -8147909931820079482],
        [1548385215996406254, -2698085374613337003],
    ]


def test_every_kind_of_draw_is_a_plain_function_of_the_words() -> None:
    key = (7, "kinds", 1, torch.tensor([2]), 3, (200,))
    words = oracle(7, "kinds", 1, 2, 3, 200)
    assert rng.uniform(*key)[0].tolist() == [(word >> 40) / 2**24 for word in words]
    assert rng.integers(*key, high=1000)[0].tolist() == [(word >> 1) % 1000 for word in words]
    centres = [((word >> 41) + 0.5) / 2**23 for word in words]
    assert rng.normal(*key)[0].tolist() == pytest.approx(stats.norm.ppf(centres), rel=1e-5, abs=1e-6)
    signed = [word - (1 << 64) if word >> 63 else word for word in words]
    assert rng.permutation(*key[:-1], 200)[0].tolist() == sorted(range(200), key=signed.__getitem__)


def test_the_same_key_gives_the_same_numbers() -> None:
    assert torch.equal(draw(KEY, [0, 1], (4, 5)), draw(KEY, [0, 1], (4, 5)))


@pytest.mark.parametrize("field", sorted(KEY))
def test_every_field_of_the_key_changes_the_draw(field: str) -> None:
    changed = draw(KEY | {field: OTHER[field]}, [0, 1], (50,))
    assert not (changed == draw(KEY, [0, 1], (50,))).any()


def test_generation_and_step_are_not_interchangeable() -> None:
    swapped = KEY | {"generation": KEY["step"], "step": KEY["generation"]}
    assert not (draw(swapped, [0], (50,)) == draw(KEY, [0], (50,))).any()


def test_a_cell_draws_the_same_in_whatever_block_it_lies() -> None:
    everyone = draw(KEY, list(range(10)), (6, 2))
    assert torch.equal(draw(KEY, [3, 7], (6, 2)), everyone[[3, 7]])
    assert torch.equal(draw(KEY, [7, 3], (6, 2)), everyone[[7, 3]])


def test_cells_draw_different_numbers() -> None:
    words = draw(KEY, list(range(40)), (50,))
    assert words.unique().numel() == words.numel()


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    assert torch.equal(draw(KEY, [0, 1], (20,))[:, :5], draw(KEY, [0, 1], (5,)))


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3, 4)])
def test_draws_have_one_entry_per_cell_and_the_asked_shape(shape: tuple[int, ...]) -> None:
    words = draw(KEY, [0, 1, 2], shape)
    assert words.shape == (3, *shape)
    assert words.dtype == torch.int64


def test_a_draw_leaves_its_cells_and_the_global_generators_alone() -> None:
    cells, torch_state, numpy_state = torch.arange(5), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    rng.normal(1, "a", 0, cells, 0, (3,))
    rng.host(1, "a").random(3)
    assert cells.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_each_of_the_64_bits_is_set_half_of_the_time() -> None:
    words = draw(KEY, list(range(100)), (200,)).numpy().view(np.uint64).ravel()
    share = ((words[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / len(words) ** 0.5


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_uniform_draws_are_uniform_from_0_to_below_1(seed: int) -> None:
    values = rng.uniform(seed, "u", 0, torch.arange(20), 0, (1000,))
    assert values.dtype == torch.float32
    assert 0 <= float(values.min()) < 1e-3
    assert 1 - 1e-3 < float(values.max()) < 1
    assert torch.equal(values * 2**24, (values * 2**24).round())
    assert stats.kstest(values.numpy().ravel(), "uniform").pvalue > 1e-3


def test_the_largest_and_smallest_words_stay_inside_the_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    extremes = torch.tensor([[0, -1, 1 << 62, -(1 << 63), (1 << 63) - 1]])
    monkeypatch.setattr(rng, "bits", lambda *key: extremes)
    monkeypatch.setattr(rng, "_words", lambda keys, part: extremes.clone()[:, part])
    uniform = rng.uniform(0, "", 0, torch.arange(1), 0, (5,))
    normal = rng.normal(0, "", 0, torch.arange(1), 0, (5,))
    integers = rng.integers(0, "", 0, torch.arange(1), 0, (5,), high=7)
    assert float(uniform.min()) == 0
    assert float(uniform.max()) == 1 - 2**-24
    assert normal.isfinite().all()
    assert float(normal.min()) == -float(normal.max()) < -5
    assert 0 <= int(integers.min()) <= int(integers.max()) < 7


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_normal_draws_are_standard_normal(seed: int) -> None:
    values = rng.normal(seed, "n", 0, torch.arange(20), 0, (1000,))
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert 3.3 < float(values.abs().max()) < 5.5
    assert stats.kstest(values.numpy().ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("high", [1, 2, 7, 10])
def test_integers_fill_their_range_evenly(high: int) -> None:
    values = rng.integers(1, "i", 0, torch.arange(10), 0, (1000,), high=high)
    assert values.dtype == torch.int64
    counts = np.bincount(values.numpy().ravel(), minlength=high)
    assert len(counts) == high
    assert high == 1 or stats.chisquare(counts).pvalue > 1e-3


@given(size=st.integers(0, 40), seed=st.integers(0, (1 << 63) - 1), cell=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_a_permutation_holds_every_index_once(size: int, seed: int, cell: int) -> None:
    order = rng.permutation(seed, "p", 0, torch.tensor([cell, cell + 1]), 0, size)
    assert order.sort(1).values.tolist() == [list(range(size))] * 2


def test_permutations_of_three_are_equally_likely() -> None:
    orders = rng.permutation(2, "p", 0, torch.arange(6000), 0, 3)
    counts = torch.unique(orders, dim=0, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (draw(KEY, [0], (20_000,)), draw(KEY, [1], (20_000,))),
        (draw(KEY, [0], (20_000,)), draw(KEY | {"step": 8}, [0], (20_000,))),
        (draw(KEY, [0], (20_001,))[:, :-1], draw(KEY, [0], (20_001,))[:, 1:]),
    ],
    ids=["cells", "steps", "neighbours in one draw"],
)
def test_draws_are_not_correlated(first: Tensor, second: Tensor) -> None:
    correlation = np.corrcoef(first.double().numpy()[0], second.double().numpy()[0])[0, 1]
    assert abs(correlation) < 5 / 20_000**0.5


def test_host_draws_are_deterministic() -> None:
    assert np.array_equal(rng.host(1, "split", 2).random(5), rng.host(1, "split", 2).random(5))


@pytest.mark.parametrize(
    "other",
    [(2, "split", 2), (1, "flips", 2), (1, "split", 3), (1, "split"), (1, "split", 2, 0)],
    ids=["seed", "purpose", "counter", "no counter", "one more counter"],
)
def test_host_draws_are_separate_by_key(other: tuple) -> None:
    assert not (rng.host(*other).random(50) == rng.host(1, "split", 2).random(50)).any()


@given(seed=st.integers(0, (1 << 63) - 1), purpose=st.text(max_size=8), counter=st.integers(0, 1 << 40))
@settings(deadline=None, max_examples=30)
def test_host_takes_any_key_and_stays_in_range(seed: int, purpose: str, counter: int) -> None:
    values = rng.host(seed, purpose, counter).random(20)
    assert ((values >= 0) & (values < 1)).all()
    assert len(set(values)) == 20


def test_a_sample_is_the_beginning_of_the_permutation() -> None:
    cells = torch.arange(6)
    whole = rng.permutation(3, "batches", 2, cells, 1, 50)
    assert torch.equal(rng.sample(3, "batches", 2, cells, 1, 50, count=7), whole[:, :7])


@pytest.mark.parametrize("count", [1, 40, 150])
def test_a_sample_of_many_rows_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(rng, "SAMPLED_WORDS", 100)
    cells = torch.tensor([4, 0, 7])
    for size in (150, 1000):
        some = rng.sample(1, "selection", 2, cells, 0, size, count=count)
        assert torch.equal(some, rng.permutation(1, "selection", 2, cells, 0, size)[:, :count])


def test_orders_of_many_rows_are_made_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = torch.tensor([4, 0, 7])
    right = rng.permutation(1, "batches", 2, cells, 0, 500)
    monkeypatch.setattr(rng, "SAMPLED_WORDS", 100)
    assert torch.equal(rng.permutation(1, "batches", 2, cells, 0, 500), right)
