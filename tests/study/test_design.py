from __future__ import annotations

from pathlib import Path

import pytest

from aecompress.errors import SpecError
from aecompress.spec.presets import PRESETS
from aecompress.study.design import read_study, slug

SMALL = """
name = "small"
question = "why?"
seeds = [3, 5]
preset = "paper-coevo-sync"
[spec]
data.source = "binary-clusters:2x10x20"
train.epochs = 4
[[group]]
name = "one"
preset = "paper-canonical"
spec = { prune.operator = "none" }
expected = 0.5
within = 0.1
[[group]]
name = "ring"
grid = { prune.operator = ["random", "variance"], prune.schedule = ["increase", "fixed"] }
[[claim]]
text = "a ring is better"
lower = "ring, random, fixed"
higher = "one"
[[claim]]
text = "both are the same"
alike = ["ring, random, fixed", "ring, variance, fixed"]
within = 0.02
"""


def written(tmp_path: Path, text: str = SMALL) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_a_grid_makes_a_group_of_every_combination_and_seeds_a_run_of_every_group(tmp_path: Path) -> None:
    study = read_study(written(tmp_path))
    assert [group.name for group in study.groups] == [
        "one", "ring, random, increase", "ring, random, fixed", "ring, variance, increase", "ring, variance, fixed",
    ]  # fmt: skip
    assert len(study.trials) == 10 and study.seeds == (3, 5)
    assert [(trial.group.name, trial.seed) for trial in study.trials[:2]] == [("one", 3), ("ring, random, increase", 3)]
    first, last = study.trials[0], study.trials[-1]
    assert (first.resolved.spec.mode, first.resolved.spec.seed) == ("canonical", 3)
    assert (last.resolved.spec.mode, last.resolved.spec.prune.operator, last.resolved.spec.seed) == (
        "coevo", "variance", 5,
    )  # fmt: skip
    assert last.resolved.spec.train.epochs == 4
    assert last.resolved.spec.prune.masks == PRESETS["paper-coevo-sync"]["prune"]["masks"]
    assert last.folder == "ring-variance-fixed-seed-5"
    assert study.groups[0].expected == 0.5 and study.groups[0].within == 0.1
    assert [claim.within for claim in study.claims] == [None, 0.02]


def test_a_number_of_seeds_means_seeds_from_one(tmp_path: Path) -> None:
    assert read_study(written(tmp_path, SMALL.replace("[3, 5]", "3"))).seeds == (1, 2, 3)


@pytest.mark.parametrize(
    ("change", "with_", "says"),
    [
        ('name = "small"', 'name = "a/b"', "name = 'a/b'"),
        ('name = "small"', "", "name is missing"),
        ("seeds = [3, 5]", "seeds = 0", "seeds = 0"),
        ("seeds = [3, 5]", "seeds = [3, 3]", "names a seed twice"),
        ("seeds = [3, 5]", "seeds = []", "seeds = []"),
        ('preset = "paper-coevo-sync"', 'preset = "papre"', "no such preset"),
        ("train.epochs = 4", "train.epoch = 4", "did you mean train.epochs?"),
        ("train.epochs = 4", "train.epochs = -4", "train.epochs = -4"),
        ("train.epochs = 4", "seed = 4", "seed is set by seeds"),
        ("expected = 0.5", "expects = 0.5", "no such entry"),
        ("within = 0.1", "within = 0", "within"),
        ('["increase", "fixed"]', '"fixed"', "not a list of values"),
        ('["increase", "fixed"]', '["increase", "cubic"]', "prune.schedule"),
        ('higher = "one"', 'higher = "won"', "did you mean 'one'?"),
        ('higher = "one"', "", "give lower and higher"),
        ('higher = "one"', 'higher = "one"\nalike = ["one", "one"]', "give lower and higher"),
        ("within = 0.02", "", "give both"),
        ('higher = "one"', 'higher = "one"\nwithin = 0.1', "give both"),
        ('name = "ring"', 'name = "one"\nexpected = 0.1', "not to a grid"),
        ('name = "one"', 'name = "RING, random fixed"', "in letters or digits"),
        ("[[group]]", "[[group", "is not TOML"),
    ],
)
def test_a_fault_names_the_file_the_place_and_the_cure(tmp_path: Path, change: str, with_: str, says: str) -> None:
    assert change in SMALL
    with pytest.raises(SpecError) as fault:
        read_study(written(tmp_path, SMALL.replace(change, with_, 1)))
    assert any(says in line and "study.toml" in line for line in fault.value.faults), fault.value.faults


def test_what_a_kind_of_data_refuses_is_a_fault_of_the_study(tmp_path: Path) -> None:
    text = SMALL.replace('"binary-clusters:2x10x20"', '"interactions:p.csv"\ndata.labels = "l.npy"')
    with pytest.raises(
        SpecError, match=r"group 'one': data\.labels = 'l\.npy': interactions are split by user"
    ) as caught:
        read_study(written(tmp_path, text))
    assert len(caught.value.faults) == 5, "one for each group"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("train.epochs = 4", "train.epochs = -4").replace('higher = "one"', 'higher = "won"')
    with pytest.raises(SpecError) as fault:
        read_study(written(tmp_path, text))
    assert len(fault.value.faults) > 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none.toml: cannot be read"):
        read_study(tmp_path / "none.toml")


def test_a_folder_is_named_after_letters_and_digits() -> None:
    assert slug("Ring, random 0.5 (persistent)") == "ring-random-0.5-persistent"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds = [3, 5]", "seeds = 1000000000", "seeds = 1000000000: write how many, from 1 to 20000, or a list"),
        ("seeds = [3, 5]", "seeds = [18446744073709551616]", "seeds"),
        ("seeds = [3, 5]", "seeds = 5000", "makes 25,000 runs; give at most 20,000"),
        (
            'grid = { prune.operator = ["random", "variance"], prune.schedule = ["increase", "fixed"] }',
            "grid = { " + ", ".join(f"a{at} = [{'1, ' * 50}]" for at in range(7)) + " }",
            "grid makes 781,250,000,000 groups",
        ),
    ],
    ids=["many seeds", "a huge seed", "many runs", "a huge grid"],
)
def test_a_study_of_endless_runs_is_refused_at_once(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read_study(written(tmp_path, SMALL.replace(before, after)))
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("seeds", ["0", "[]", '"many"', "[1, -1, -2]", "[1.5]", "{ a = 1 }"])
def test_a_refusal_of_seeds_is_one_sentence(tmp_path: Path, seeds: str) -> None:
    with pytest.raises(SpecError, match="study.toml: seeds = .*: write how many, from 1 to 20000, or a list") as caught:
        read_study(written(tmp_path, SMALL.replace("[3, 5]", seeds)))
    assert len(caught.value.faults) == 1
