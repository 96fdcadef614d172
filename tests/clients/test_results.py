"""A client's answers become results, and what is not as the table expects is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from aecompress.deploy.expected import Expected
from aecompress.deploy.forms import encode
from tests.clients import run, table
from tests.clients.files import Case, one_layer, written
from tests.clients.results import Result, faults, judged, markdown
from tests.clients.table import CLIENTS, Limit

NEWEST = "onnxruntime 1.32.0"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def case(place: Path) -> Case:
    """A packed network of one layer."""
    weight = np.diag(np.arange(1, 9)).astype(np.float32)
    onnx.save(one_layer(encode(weight, "float32", 0), 18), place / "one.packed.onnx")
    given = Expected("rows", np.eye(8, dtype=np.float32), weight.astype(np.float64), 0.0, 0.0)
    return written(place, place / "one.packed.onnx", given, variant="packed", values="float32", opset=18)


def good(milliseconds: float = 1.0, **operators: int) -> dict[str, object]:
    return {"off": 0.0, "share": 0.0, "milliseconds": milliseconds, "operators": operators}


def results(cases: list[Case], *answers: dict[str, object], client: str = NEWEST) -> list[Result]:
    return judged(client, cases, answers)


@pytest.mark.parametrize("kind", ["onnxruntime", "onnx"])
def test_a_client_prints_the_difference_to_what_is_right(place: Path, case: Case, kind: str) -> None:
    found = run.answer(kind, place, vars(case))
    assert found["off"] == 0.0
    assert sum(found["operators"].values()) == (kind == "onnxruntime"), "the weight is rebuilt when the file is loaded"


def test_a_file_that_cannot_be_loaded_is_refused_and_says_why(place: Path, case: Case) -> None:
    for path in place.glob("one.packed.onnx.*"):
        shutil.copy(path, path.with_name(path.name.replace("one.packed", "broken")))
    (place / "broken.onnx").write_bytes(b"none")
    found = run.answer("onnxruntime", place, vars(replace(case, file="broken.onnx")))
    assert "InvalidProtobuf" in found["refused"]


def test_a_wrong_value_another_shape_and_a_refusal_are_faults(case: Case) -> None:
    for answer in (good() | {"share": 1.1}, good() | {"off": None, "share": None}, {"refused": "no kernel"}):
        (fault,) = faults(results([case], answer))
        assert fault.startswith(f"{NEWEST}: one.packed.onnx: ") and "expected right" in fault
    assert not faults(results([case], good()))


def test_a_client_refuses_opsets_after_its_own(case: Case) -> None:
    later, client = replace(case, opset=CLIENTS[NEWEST].opset + 1), NEWEST
    assert not faults(results([later], {"refused": "opset"}, client=client))
    assert faults(results([later], good(), client=client))


def test_a_known_limit_that_is_gone_is_a_fault(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit("onnxruntime 1.32", lambda case: case.variant == "packed", "wrong", "decodes it wrongly")
    monkeypatch.setattr(table, "LIMITS", (limit,))
    assert not faults(results([case], good() | {"share": 100.0}))
    (fault,) = faults(results([case], good()))
    assert "right, expected wrong (decodes it wrongly)" in fault


def test_a_file_that_is_not_folded_is_a_fault(case: Case) -> None:
    plain, packed = replace(case, file="one.onnx", variant="plain"), replace(case, plain="one.onnx")
    assert not faults(results([plain, packed], good(Gemm=1), good(Gemm=1)))
    (fault,) = faults(results([plain, packed], good(Gemm=1), good(Cast=2, Gemm=1)))
    assert fault == f"{NEWEST}: one.packed.onnx: is not folded to its plain file's operators: 2 Cast, 1 Gemm"


def test_the_table_has_a_row_for_each_client_and_a_column_for_each_variant(case: Case) -> None:
    plain = replace(case, file="a/autoencoder.onnx", variant="plain")
    packed = replace(case, file="a/autoencoder.packed.onnx", variant="packed")
    found = results([plain, packed], good(0.25), good(0.75)) + results(
        [plain, packed], good(2.0), {"refused": "no kernel"}, client="tract 0.23.9"
    )
    assert markdown(found, "2026-11-27").splitlines() == [
        "| 2026-11-27 | opset | plain (1) | packed (1) | ms to load, plain / packed |",
        "|---|---|---|---|---|",
        f"| {NEWEST} | to 24 | right | right | 0.2 / 0.8 |",
        "| tract 0.23.9 | to 24 | right | 1 refused | 2.0 / - |",
    ]


def test_the_page_has_the_table_of_these_clients() -> None:
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    section = page.partition("## In which runtimes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == list(CLIENTS), "print it with `python -m tests.clients --markdown`"


def test_each_package_of_a_client_is_of_one_version() -> None:
    for name, client in CLIENTS.items():
        assert all(package.count("==") + package.count("@") == 1 for package in client.packages), name
        assert name.split()[-1] in client.packages[0], name
