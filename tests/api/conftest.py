"""One small finished run with a front, shared by the tests of what is read from it."""

from __future__ import annotations

import pytest

import aecompress
from aecompress.api.result import Result

SMALL = {"data.source": "digits", "evolve.cells": 4, "model.hidden": [16], "model.latent": 4, "train.epochs": 4}
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"
"""A folder's name that a page must show and not obey."""


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return aecompress.run(SMALL, tmp_path_factory.mktemp("api") / HOSTILE).result()
