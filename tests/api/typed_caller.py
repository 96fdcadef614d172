"""A caller's code: ``test_types.py`` checks with mypy that it knows the types of all that it uses, none of them Any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

import aecompress
from aecompress.api.front import FrontModel
from aecompress.api.history import Epoch
from aecompress.events import Compared, Event, Generation, Verified


def carried_out(spec: aecompress.RunSpec, folder: Path) -> aecompress.Result:
    run = assert_type(aecompress.run(spec, folder, force=True), aecompress.Run)
    assert_type(run.folder, Path)
    for event in run:
        assert_type(event, Event)
        if isinstance(event, Generation):
            assert_type(event.validation_loss, tuple[float, ...])
    run.close()
    return assert_type(run.result(), aecompress.Result)


def read(result: aecompress.Result) -> tuple[float, float]:
    assert_type(result.files["autoencoder"], Path)
    assert_type(result.verification, Verified)
    assert_type(result.compared, Compared | None)
    assert_type(result.front, aecompress.Front)
    assert_type(result.front[0], FrontModel)
    assert_type(result.front[:2], tuple[FrontModel, ...])
    assert_type(result.front[0].against_dense, float | None)
    assert_type(result.history.epochs, tuple[Epoch, ...])
    assert_type(result.front.plot(), Figure)
    assert_type(result.history.plot(), Figure)
    return assert_type(result.sparsity, float), assert_type(result.metrics["test_l1"], float)


def fitted(rows: NDArray[np.float64]) -> aecompress.Autoencoder:
    ae = assert_type(aecompress.Autoencoder(target_sparsity=0.9, epochs=3).fit(rows), aecompress.Autoencoder)
    assert_type(ae.front_, aecompress.Front)
    assert_type(ae.history_, aecompress.History)
    assert_type(ae.transform(rows), NDArray[np.floating[Any]])
    assert_type(ae.export("model"), dict[str, Path])
    assert_type(aecompress.Autoencoder.load("model"), aecompress.Autoencoder)
    return assert_type(ae.pick("knee"), aecompress.Autoencoder)


def compressed(module: Module, rows: NDArray[np.float64]) -> dict[str, Any]:
    ae = assert_type(
        aecompress.compress(module, rows, validation=rows, epochs=3, target_sparsity=0.9), aecompress.Autoencoder
    )
    return assert_type(ae.report_, dict[str, Any])


def reconstructed(folder: str, rows: Tensor) -> Tensor:
    model = aecompress.load(folder)
    assert_type(model.encode(model.scale(rows)), Tensor)
    try:
        return model.unscale(assert_type(model.decode(model.encode(rows)), Tensor))
    except aecompress.AecompressError as fault:
        raise SystemExit(str(fault)) from fault
