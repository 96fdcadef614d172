"""A run by epoch, from its recorded log."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from aecompress.api.history import History, history_of, lowest
from aecompress.errors import SpecError
from aecompress.event_log import current, read_log
from aecompress.events import Generation
from tests.fixtures.remake import LOG

EVENTS = current(read_log(LOG))
PAST = [event for event in EVENTS if isinstance(event, Generation)]
HISTORY = history_of(EVENTS)


def test_a_history_has_a_row_for_each_epoch_that_holds() -> None:
    assert [row["epoch"] for row in HISTORY.rows] == list(range(1, 9)) and HISTORY.by_probability
    assert HISTORY.metric == "mse"
    for row, event in zip(HISTORY.rows, PAST, strict=True):
        assert row["validation_loss"] == min(event.validation_loss) and row["train_loss"] == min(event.train_loss)
        assert row["sparsity"] == pytest.approx(np.mean(event.sparsity))


def test_a_model_that_diverged_does_not_hide_the_others() -> None:
    assert lowest((math.nan, 2.0, math.inf, 1.0)) == 1.0 and math.isnan(lowest((math.nan,)))


def test_a_history_reads_as_text_and_as_a_page() -> None:
    assert repr(HISTORY).startswith("<History of 8 epochs: validation mse 0.0")
    assert HISTORY._repr_html_().count("<svg") == 2
    empty = History(metric="mse", epochs=())
    assert repr(empty) == "<History of no epochs>" and "<svg" not in empty._repr_html_()


def test_the_figure_has_losses_above_and_sparsity_below() -> None:
    figure = HISTORY.plot()
    above, below = figure.axes
    for line, field in zip(above.get_lines(), ("train_loss", "validation_loss"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [row[field] for row in HISTORY.rows])
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), [row["sparsity"] for row in HISTORY.rows])
    assert "probability" in below.get_lines()[1].get_label()
    data, about = figure._repr_png_()  # type: ignore[attr-defined]
    assert data[:4] == b"\x89PNG" and about == {"width": 672}, "a notebook shows it without pyplot"
    assert History(metric="mse", epochs=()).plot().axes


def test_without_matplotlib_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"history\.plot\(\): needs matplotlib; pip install 'aecompress\[plot\]'"):
        HISTORY.plot()
