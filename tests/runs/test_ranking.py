"""recall@k and nDCG@k of interactions equal those counted by hand."""

from __future__ import annotations

import json
import math
import pkgutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from aecompress.data.interactions import INTERACTIONS
from aecompress.data.sources.interactions import users_and_items
from aecompress.data.sparse import SparseRows, few
from aecompress.events import Finished
from aecompress.nets.layers import forward
from aecompress.runs.job import prepare
from aecompress.runs.ranking import held_out, ranking
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from tests.data.test_interactions import SMALL
from tests.modules import small_net

ROWS, _ = users_and_items(SMALL)


def test_the_kind_names_its_metrics() -> None:
    assert pkgutil.resolve_name(INTERACTIONS.metrics) is ranking


def test_a_fifth_of_every_users_items_is_held_out() -> None:
    held = held_out(ROWS, 1)
    for user in range(len(ROWS)):
        mine = held[ROWS.starts[user] : ROWS.starts[user + 1]]
        assert mine.sum() == max(1, round(0.2 * len(mine)))
    assert np.array_equal(held, held_out(ROWS, 1)) and not np.array_equal(held, held_out(ROWS, 2))


def by_hand(scores: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    order = [item for item in np.argsort(-scores) if not given[item]]
    found = {f"recall@{k}": wanted[order[:k]].sum() / wanted.sum() for k in (20, 50)}
    gain = sum(wanted[item] / math.log2(place + 2) for place, item in enumerate(order[:100]))
    best = sum(1 / math.log2(place + 2) for place in range(int(wanted.sum())))
    return found | {"ndcg@100": gain / best}


def test_recall_and_gain_equal_those_by_hand(tmp_path: Path) -> None:
    flags = {"data.source": f"interactions:{SMALL}", "train.epochs": 20, "evolve.cells": 3, "seed": 5}
    job = prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "r")
    (end,) = [event for event in run(job) if isinstance(event, Finished)]
    session = onnxruntime.InferenceSession(tmp_path / "r" / "model" / "autoencoder.onnx")
    test = job.dataset.test
    dense, held = few(test), held_out(test, 5)
    expected = []
    for user in range(len(test)):
        ones = slice(test.starts[user], test.starts[user + 1])
        wanted = np.zeros(60, bool)
        wanted[test.places[ones][held[ones]]] = True
        given = (dense[user] > 0) & ~wanted
        scores = session.run(None, {"input": given[None].astype(np.float32)})[0][0]
        expected.append(by_hand(scores, given, wanted))
    for name in expected[0]:  # rounding in onnxruntime may turn two items round
        assert end.metrics[f"test_{name}"] == pytest.approx(np.mean([one[name] for one in expected]), abs=0.02), name
    assert end.metrics["test_recall@20"] > 0.45, "of 51 items by chance 0.39"
    assert end.metrics["verified_bce"] == pytest.approx(end.metrics["test_bce"], rel=1e-5)
    names = (tmp_path / "r" / "model" / "inputs.txt").read_text().splitlines()
    assert names == list(job.dataset.inputs)
    config = json.loads((tmp_path / "r" / "model" / "config.json").read_text())
    assert config["encoder"][0]["in"] == 60


def test_every_place_counts(tmp_path: Path) -> None:
    flags = {"data.source": f"interactions:{SMALL}", "mode": "canonical", "seed": 2}
    job = prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "r")
    weights = torch.randn((1, job.net.layout.size), generator=torch.Generator().manual_seed(0))
    views, held = job.net.layout.views(weights), held_out(ROWS, 2)
    expected = []
    for user in range(len(ROWS)):
        ones = slice(ROWS.starts[user], ROWS.starts[user + 1])
        wanted, given = np.zeros(60, bool), ROWS[user : user + 1].copy()
        wanted[ROWS.places[ones][held[ones]]] = True
        given[0, wanted] = 0
        scores = forward(job.net.layers, views, torch.from_numpy(given)[None]).pre[-1][0, 0].numpy()
        expected.append(by_hand(scores, given[0] > 0, wanted))
    got = ranking(job.net, views, ROWS, 2, lambda: None)
    assert got == pytest.approx({name: np.mean([one[name] for one in expected]) for name in expected[0]}, abs=1e-6)


def test_rows_are_made_dense_by_the_batch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aecompress.nets.rows import SparseTensor

    widest = 0
    for cls, name in ((SparseRows, "__getitem__"), (SparseTensor, "index_select")):
        real = getattr(cls, name)

        def seen(self: object, *arguments: object, real: object = real) -> object:
            nonlocal widest
            rows = real(self, *arguments)  # type: ignore[operator]
            widest = max(widest, len(rows))
            return rows

        monkeypatch.setattr(cls, name, seen)
    lines = ["user,item"] + [f"{user},{(user * 7 + step * step) % 900}" for user in range(3000) for step in range(4)]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    flags = {"data.source": f"interactions:{tmp_path / 'p.csv'}", "train.epochs": 1, "train.batch": 16}
    flags |= {"model.hidden": [8], "model.latent": 4, "evolve.cells": 3}
    list(run(prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "r")))
    assert 0 < widest < 2400, "the training users were dense at once"


def test_users_with_one_item_are_not_ranked() -> None:
    net = small_net()
    single = SparseRows(np.arange(4), np.array([0, 1, 2], np.int32), 12)
    views = net.layout.views(torch.zeros((1, net.layout.size)))
    assert ranking(net, views, single, 0, lambda: None) == {}
