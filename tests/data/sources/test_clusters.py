"""The binary clustering problem: every property of ALGORITHMS A1."""

from __future__ import annotations

import numpy as np
import pytest

from aecompress.data.base import Request
from aecompress.data.sources.clusters import FLIP_RATE, binary_clusters
from aecompress.data.sources.registry import read
from aecompress.errors import DataError


@pytest.mark.parametrize(
    "name",
    ["", "10x100", "10x100x1000x2", "0x100x1000", "10x0x10", "10x10x0", "-1x2x3", "axbxc", "10 x 10 x 10", "1.5x2x3"],
)
def test_a_badly_written_cluster_set_says_how_to_write_it(name: str) -> None:
    with pytest.raises(DataError, match="write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example"):
        read(Request(source=f"binary-clusters:{name}"))


def test_the_bare_name_of_the_cluster_sets_says_how_to_write_them() -> None:
    with pytest.raises(DataError, match="write it as binary-clusters:CLUSTERSxROWSxINPUTS, for example"):
        read(Request(source="binary-clusters"))


CLUSTERS, PER_CLUSTER, INPUTS = 20, 25, 400


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    raw = binary_clusters("set", CLUSTERS, PER_CLUSTER, INPUTS, 0)
    return {"train": raw.train, "validation": raw.validation, "test": raw.test}


@pytest.fixture(scope="module")
def clean(parts: dict[str, np.ndarray]) -> np.ndarray:
    """The rows before bits were flipped, by majority over all rows of a cluster."""
    by_cluster = [rows.reshape(CLUSTERS, PER_CLUSTER, INPUTS) for rows in parts.values()]
    return np.repeat(np.concatenate(by_cluster, axis=1).mean(1) > 0.5, PER_CLUSTER, axis=0)


def test_clusters_are_three_sets_of_zeros_and_ones(parts: dict[str, np.ndarray]) -> None:
    for rows in parts.values():
        assert rows.shape == (CLUSTERS * PER_CLUSTER, INPUTS)
        assert rows.dtype == np.uint8
        assert set(np.unique(rows)) == {0, 1}


def test_three_quarters_of_the_centroid_bits_are_1(clean: np.ndarray) -> None:
    assert clean.mean() == pytest.approx(0.75, abs=0.02)


def test_one_bit_in_twenty_is_flipped_and_the_notes_say_how_many(
    parts: dict[str, np.ndarray], clean: np.ndarray
) -> None:
    notes = binary_clusters("set", CLUSTERS, PER_CLUSTER, INPUTS, 0).notes
    assert list(notes) == ["train_flip_rate", "validation_flip_rate", "test_flip_rate"]
    for name, rows in parts.items():
        measured = (rows != clean).mean()
        assert measured == pytest.approx(notes[f"{name}_flip_rate"], abs=1e-12)
        assert measured == pytest.approx(FLIP_RATE, abs=0.003)
    assert FLIP_RATE == 0.05


def test_the_three_sets_are_flipped_independently(parts: dict[str, np.ndarray], clean: np.ndarray) -> None:
    train, validation, test = ((rows != clean) for rows in parts.values())
    for both in (train & validation, train & test, validation & test):
        assert both.mean() == pytest.approx(FLIP_RATE**2, abs=0.0007)


def test_predicting_each_inputs_majority_scores_what_the_paper_says() -> None:
    train = binary_clusters("set", 10, 20, 1000, 0).train
    majority = train.mean(0) > 0.5
    assert (train != majority).mean() == pytest.approx(0.270, abs=0.02)


def test_the_seed_of_a_cluster_set_is_its_instance() -> None:
    first, again, other = (read(Request(source="binary-clusters:4x5x60", seed=seed)) for seed in (1, 1, 2))
    assert first.name == "binary-clusters:4x5x60"
    assert first.notes == again.notes != other.notes
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
        assert (getattr(first, part) != getattr(other, part)).mean() > 0.2
