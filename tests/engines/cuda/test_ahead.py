"""Every kernel compiled for an H100, without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.engines.cuda.cases import needs_interpreter

NO_SPILLS = {
    "draw",
    "digits",
    "ties",
    "mark",
    "up",
    "down",
    "turn",
    "gather",
    "activation",
    "output",
    "delta",
    "update",
}


@needs_interpreter
@pytest.mark.slow
def test_kernels_compile_once_for_all_waves_and_spill_nothing(tmp_path: Path) -> None:
    here = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.cuda.ahead"],
        env=here | {"TRITON_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    names = Counter(each["kernel"].removesuffix("_kernel") for each in found)
    assert set(names) == NO_SPILLS | {"split", "whole"}
    assert names["split"] == 4, "a wave that begins elsewhere is compiled anew"
    assert names["digits"] == names["ties"] == names["mark"] == 1
    for each in found:
        name = each["kernel"].removesuffix("_kernel")
        assert name not in NO_SPILLS or each["spilled"] == 0, each
        assert name == "whole" or each["group_products"] == 0, each
    widest = {name: max(each["wide_loads"] for each in found if each["kernel"] == f"{name}_kernel") for name in names}
    assert widest["update"] >= 4 and widest["split"] >= 40 and widest["turn"] >= 20
