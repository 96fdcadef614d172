"""The proof: a good set passes all its checks, and every way of being wrong is caught by the check meant for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from aecompress.deploy import expected, graph, reference, session, verify
from aecompress.deploy.checkpoint import Floats, Model, save_rows
from aecompress.deploy.reconstruction import row_losses_of
from aecompress.errors import DataError
from aecompress.layers.dense import dense
from aecompress.layers.names import NAMES
from aecompress.registry import VARIANTS, VariantRow
from tests.deploy.models import (
    INPUTS,
    build_all,
    edit,
    edit_tensor,
    hide_names,
    rename,
    tiny_model,
    tiny_rows,
    write_model,
)

TOLERANCE = 1e-5
ROWS = tiny_rows()
PARTS = pytest.mark.parametrize("part", graph.PARTS)


@pytest.fixture
def model() -> Model:
    return tiny_model("tanh")


@pytest.fixture
def folder(tmp_path: Path, model: Model) -> Path:
    return write_model(tmp_path, model)


def torch_losses(model: Model, rows: Floats) -> dict[str, float]:
    _, reconstruction = reference.reconstruct(model, rows)
    out, target = torch.from_numpy(reconstruction).float(), torch.from_numpy(rows)
    return {"mse": float(functional.mse_loss(out, target)), "l1": float(functional.l1_loss(out, target))}


def failures(path: Path, model: Model, rows: Floats = ROWS) -> list[str]:
    """Names of the failed checks, without the file's name."""
    checks = verify.verify_file(path, model, expected.expectations(model, rows), TOLERANCE)
    return [check.name.removeprefix(path.name + " ") for check in checks if not check.passed]


# ---------------------------------------------------------------- what is right passes


@pytest.mark.parametrize(("activation", "opset"), [(name, (13, 18, 21)[at % 3]) for at, name in enumerate(NAMES)])
def test_a_good_set_passes(tmp_path: Path, activation: str, opset: int) -> None:
    model = tiny_model(activation)
    for part, proto in build_all(model, opset, {}).items():
        (tmp_path / f"{part}.onnx").write_bytes(proto.SerializeToString())
    result = verify.verify_set(tmp_path, model, ROWS, TOLERANCE, torch_losses(model, ROWS), 1e-5)
    assert result.first_failure == ""
    assert result.passed
    assert len(result.checks) == 3 * 13 + 2 + 2
    assert 0 <= result.max_difference < 1e-5


@PARTS
def test_a_good_file_passes_thirteen_checks(folder: Path, model: Model, part: str) -> None:
    checks = verify.verify_file(folder / f"{part}.onnx", model, expected.expectations(model, ROWS), TOLERANCE)
    assert all(check.passed for check in checks)
    assert [check.name.removeprefix(f"{part}.onnx ") for check in checks] == [
        "checker",
        "names",
        "shapes",
        "stored tensors",
        "values, rows, batch 1",
        "values, rows, batch 7",
        "values, all 20 rows, batch 20",
        "values, probes, batch 1",
        "values, probes, batch 7",
        "values, all 64 probes, batch 64",
        "with optimisation disabled",
        "with optimisation basic",
        "in onnx's evaluator",
    ]
    stored = {"encoder": 4, "decoder": 4, "autoencoder": 8}[part]
    assert checks[3].detail == f"{stored} equal to the model's"


def test_a_file_of_another_exporter_passes_by_its_values(folder: Path, model: Model) -> None:
    path = edit(folder / "autoencoder.onnx", hide_names)
    assert failures(path, model) == []
    checks = verify.verify_file(path, model, expected.expectations(model, ROWS), TOLERANCE)
    assert checks[3].detail == "0 equal to the model's"


def test_a_batch_axis_without_a_name_is_dynamic_too(folder: Path, model: Model) -> None:
    def forget(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].Clear()

    assert failures(edit(folder / "autoencoder.onnx", forget), model) == []


def test_a_pruned_model_passes(tmp_path: Path) -> None:
    model = tiny_model("relu")
    random = np.random.default_rng(0)
    tensors = {name: tensor * (random.random(tensor.shape) < 0.2) for name, tensor in model.tensors.items()}
    model = replace(model, tensors=tensors | {"encoder.1.weight": np.zeros((5, 3), np.float32)})
    write_model(tmp_path, model)
    assert verify.verify_set(tmp_path, model, ROWS, TOLERANCE, torch_losses(model, ROWS), 1e-5).passed


# ---------------------------------------------------------------- a wrong weight


def one_percent(values: np.ndarray) -> np.ndarray:
    """The largest value 1 % larger."""
    place = np.unravel_index(np.abs(values).argmax(), values.shape)
    values[place] *= 1.01
    return values


@pytest.mark.parametrize("layer", ["encoder.0", "encoder.1", "decoder.0", "decoder.1"])
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_one_weight_off_by_one_percent_fails_stored_tensors_and_values(
    folder: Path, model: Model, layer: str, kind: str
) -> None:
    for part in (layer.partition(".")[0], "autoencoder"):
        path = edit(folder / f"{part}.onnx", lambda proto: edit_tensor(proto, f"{layer}.{kind}", one_percent))
        failed = failures(path, model)
        assert failed[0] == "stored tensors"
        assert len(failed) == 7
        checks = verify.verify_file(path, model, expected.expectations(model, ROWS), TOLERANCE)
        assert f"{layer}.{kind} differs in 1 places" in {check.detail for check in checks}


@pytest.mark.parametrize("layer", ["encoder.0", "encoder.1", "decoder.0", "decoder.1"])
def test_one_weight_off_by_one_percent_fails_by_its_values_alone(folder: Path, model: Model, layer: str) -> None:
    path = edit(folder / "autoencoder.onnx", lambda proto: edit_tensor(proto, f"{layer}.weight", one_percent))
    failed = failures(edit(path, hide_names), model)
    assert "stored tensors" not in failed
    assert len(failed) == 6


def first_input(values: np.ndarray) -> np.ndarray:
    """Stored ``[in, out]``: every weight that reads input 0 off by 1 %."""
    values[0] *= 1.01
    return values


def test_a_wrong_weight_on_an_input_that_is_always_zero_is_seen(folder: Path, model: Model) -> None:
    rows = ROWS.copy()
    rows[:, 0] = 0
    path = edit(folder / "autoencoder.onnx", lambda proto: edit_tensor(proto, "encoder.0.weight", first_input))
    probes = ["values, probes, batch 1", "values, probes, batch 7", "values, all 64 probes, batch 64"]
    assert failures(path, model, rows) == ["stored tensors", *probes]
    assert failures(edit(path, hide_names), model, rows) == probes


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_wrong_weight_is_seen_where_all_rows_are_one_constant(folder: Path, model: Model, constant: float) -> None:
    def balanced(values: np.ndarray) -> np.ndarray:
        values[0, 0] += 0.5
        values[1, 0] -= 0.5
        return values

    path = edit(folder / "autoencoder.onnx", lambda proto: edit_tensor(proto, "encoder.0.weight", balanced))
    rows = np.full_like(ROWS, constant)
    assert len(failures(edit(path, hide_names), model, rows)) == 3


def test_a_wrong_weight_is_seen_without_any_rows(folder: Path, model: Model) -> None:
    path = edit(folder / "encoder.onnx", lambda proto: edit_tensor(proto, "encoder.1.weight", one_percent))
    assert len(failures(edit(path, hide_names), model, ROWS[:0])) == 3


def test_the_smallest_change_of_a_stored_weight_is_seen(folder: Path, model: Model) -> None:
    def nudge(values: np.ndarray) -> np.ndarray:
        values[0, 0] = np.nextafter(values[0, 0], np.float32(9))
        return values

    path = edit(folder / "autoencoder.onnx", lambda proto: edit_tensor(proto, "decoder.1.weight", nudge))
    assert failures(path, model) == ["stored tensors"]


def test_a_swapped_activation_fails_by_its_values(folder: Path, model: Model) -> None:
    last = model.decoder[1]
    swapped = replace(model, decoder=(model.decoder[0], dense(last.name, last.inputs, last.outputs, "relu")))
    (folder / "autoencoder.onnx").write_bytes(build_all(swapped, 18, {})["autoencoder"].SerializeToString())
    assert len(failures(folder / "autoencoder.onnx", model)) == 6


def test_an_output_that_is_not_finite_fails(folder: Path, model: Model) -> None:
    path = edit(folder / "encoder.onnx", lambda proto: edit_tensor(proto, "encoder.1.bias", lambda bias: bias * np.nan))
    checks = verify.verify_file(path, model, expected.expectations(model, ROWS), TOLERANCE)
    assert [check.detail for check in checks if check.name.startswith("encoder.onnx values")] == ["not finite"] * 6


# ---------------------------------------------------------------- a wrong file


def test_a_file_that_is_not_there_is_named(folder: Path, model: Model) -> None:
    with pytest.raises(DataError, match=r"none\.onnx: cannot be read \(No such file or directory\)"):
        verify.verify_file(folder / "none.onnx", model, expected.expectations(model, ROWS), TOLERANCE)


@pytest.mark.parametrize("place", ["onnx.checker.check_model", "onnxruntime.InferenceSession"])
def test_memory_that_runs_out_is_no_fault_of_the_file(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def exhausted(*given: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(place, exhausted)
    with pytest.raises(MemoryError):
        verify.verify_set(folder, model, ROWS, TOLERANCE, {}, 1e-5)


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\xff" * 100], ids=["empty", "text", "ones"])
def test_garbage_fails_the_checker(folder: Path, model: Model, data: bytes) -> None:
    (folder / "garbage.onnx").write_bytes(data)
    assert failures(folder / "garbage.onnx", model) == ["checker"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_file_fails_the_checker(folder: Path, model: Model, share: float) -> None:
    path = folder / "autoencoder.onnx"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert failures(path, model) == ["checker"]


def test_a_graph_that_reads_a_value_nobody_makes_fails_the_checker(folder: Path, model: Model) -> None:
    def cut(proto: onnx.ModelProto) -> None:
        proto.graph.node[2].input[0] = "nowhere"

    assert failures(edit(folder / "autoencoder.onnx", cut), model) == ["checker"]


def test_a_weight_that_does_not_fit_the_next_layer_fails_the_checker(folder: Path, model: Model) -> None:
    path = edit(
        folder / "autoencoder.onnx", lambda proto: edit_tensor(proto, "decoder.0.weight", lambda weight: weight.T)
    )
    assert failures(path, model) == ["checker"]


def test_an_operator_that_onnxruntime_lacks_fails_to_load(folder: Path, model: Model) -> None:
    def foreign(proto: onnx.ModelProto) -> None:
        proto.graph.node[-1].domain = "com.microsoft"
        proto.graph.node[-1].op_type = "NoSuchOperator"
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    path = edit(folder / "autoencoder.onnx", foreign)
    assert failures(path, model) == ["loads"]
    with pytest.raises(DataError, match=r"autoencoder\.onnx: onnxruntime does not load it .*export it again"):
        session.session(path, 1)


@pytest.mark.parametrize(
    "names",
    [{"input": "x"}, {"reconstruction": "output"}, {"input": "reconstruction", "reconstruction": "input"}],
)
def test_wrong_names_fail(folder: Path, model: Model, names: dict[str, str]) -> None:
    path = edit(folder / "autoencoder.onnx", lambda proto: rename(proto, names))
    assert failures(path, model) == ["names"]


def test_a_second_output_fails_by_its_name(folder: Path, model: Model) -> None:
    def expose(proto: onnx.ModelProto) -> None:
        proto.graph.output.append(helper.make_tensor_value_info("encoder.1.out", TensorProto.FLOAT, ["batch", 3]))

    assert failures(edit(folder / "autoencoder.onnx", expose), model) == ["names"]


@PARTS
@pytest.mark.parametrize("batch", [1, 7])
def test_a_fixed_batch_fails(folder: Path, model: Model, part: str, batch: int) -> None:
    def fix(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch

    assert failures(edit(folder / f"{part}.onnx", fix), model) == ["shapes"]


@PARTS
def test_a_model_of_another_width_fails_by_its_shapes(tmp_path: Path, model: Model, part: str) -> None:
    other = write_model(tmp_path, tiny_model(inputs=INPUTS + 1, latent=2))
    assert failures(other / f"{part}.onnx", model) == ["shapes"]


def as_type(dtype: type, code: int) -> Callable[[onnx.ModelProto], None]:
    """Turn the whole graph into another number format."""

    def change(proto: onnx.ModelProto) -> None:
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.elem_type = code
        for tensor in proto.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))

    return change


@pytest.mark.parametrize(("dtype", "code"), [(np.float64, TensorProto.DOUBLE), (np.float16, TensorProto.FLOAT16)])
def test_a_file_that_does_not_take_float32_fails(tmp_path: Path, dtype: type, code: int) -> None:
    model = tiny_model("relu")
    path = edit(write_model(tmp_path, model) / "autoencoder.onnx", as_type(dtype, code))
    assert failures(path, model)


def test_a_file_that_breaks_while_it_runs_fails(folder: Path, model: Model) -> None:
    def grow(proto: onnx.ModelProto) -> None:
        """Stretch the batch to 7 more rows, which only a batch of 1 can be."""
        rename(proto, {"input": "grown"})
        proto.graph.input[0].name = "input"
        proto.graph.initializer.append(numpy_helper.from_array(np.array([7, 0]), "more"))
        proto.graph.node.insert(0, helper.make_node("Shape", ["input"], ["size"]))
        proto.graph.node.insert(1, helper.make_node("Add", ["size", "more"], ["larger"]))
        proto.graph.node.insert(2, helper.make_node("Expand", ["input", "larger"], ["grown"]))

    assert failures(edit(folder / "autoencoder.onnx", grow), model)


# ---------------------------------------------------------------- a wrong set


def verified(folder: Path, model: Model, **losses: float) -> verify.Verification:
    return verify.verify_set(folder, model, ROWS, TOLERANCE, losses, 1e-5)


@pytest.mark.parametrize(
    ("first", "second"), [("encoder", "decoder"), ("encoder", "autoencoder"), ("decoder", "autoencoder")]
)
@pytest.mark.parametrize("latent", [3, INPUTS])
def test_swapped_files_fail(tmp_path: Path, first: str, second: str, latent: int) -> None:
    model = tiny_model(latent=latent)
    paths = [write_model(tmp_path, model) / f"{part}.onnx" for part in (first, second)]
    data = [path.read_bytes() for path in paths]
    for path, other in zip(paths, reversed(data), strict=True):
        path.write_bytes(other)
    result = verified(tmp_path, model)
    assert not result.passed
    assert result.first_failure


def test_a_missing_file_of_a_set_is_named(folder: Path, model: Model) -> None:
    (folder / "decoder.onnx").unlink()
    with pytest.raises(DataError, match=r"decoder\.onnx: cannot be read"):
        verified(folder, model)


def test_one_wrong_file_fails_the_set(folder: Path, model: Model) -> None:
    edit(folder / "decoder.onnx", lambda proto: edit_tensor(proto, "decoder.1.weight", one_percent))
    result = verified(folder, model, **torch_losses(model, ROWS))
    assert not result.passed
    assert result.first_failure.startswith("decoder.onnx stored tensors: decoder.1.weight differs in 1 places")
    assert result.max_difference > TOLERANCE


def test_a_wrong_loss_fails_the_set(folder: Path, model: Model) -> None:
    right = torch_losses(model, ROWS)
    assert verified(folder, model, **right).passed
    for metric in right:
        for factor in (0.999, 1.001, float("nan"), float("inf")):
            result = verified(folder, model, **(right | {metric: right[metric] * factor}))
            assert result.first_failure.startswith(f"{metric} of onnxruntime and torch: ")


def test_a_loss_near_zero_is_compared_with_a_floor(folder: Path, model: Model) -> None:
    assert "mse" in verified(folder, model, mse=0.0).first_failure
    _, reconstruction = reference.reconstruct(model, ROWS)
    result = verified(folder, model, l1=float(np.abs(reconstruction - ROWS).mean()))
    assert result.checks[-1].difference < 1e-6


class Enough(Exception):
    """Raised to stop a verification."""


@pytest.mark.parametrize("allowed", [0, 1, 10])
def test_a_verification_can_be_stopped_between_its_comparisons(folder: Path, model: Model, allowed: int) -> None:
    polls = iter(range(allowed))

    def poll() -> None:
        if next(polls, None) is None:
            raise Enough

    with pytest.raises(Enough):
        verify.verify_set(folder, model, ROWS, TOLERANCE, {}, 1e-5, poll=poll)
    assert next(polls, None) is None


# ---------------------------------------------------------------- against a model folder


def test_any_file_is_verified_against_the_kept_rows(folder: Path) -> None:
    save_rows(folder / "rows.safetensors", ROWS[:11])
    result = verify.verify_against(folder / "encoder.onnx", folder, None, TOLERANCE)
    assert result.passed
    assert "encoder.onnx values, all 11 rows, batch 11" in {check.name for check in result.checks}
    assert len(result.checks) == 13


def test_without_kept_rows_the_probes_are_enough(folder: Path) -> None:
    path = folder / "autoencoder.onnx"
    result = verify.verify_against(path, folder, None, TOLERANCE)
    assert result.passed
    assert [check.name for check in result.checks if "values" in check.name] == [
        "autoencoder.onnx values, probes, batch 1",
        "autoencoder.onnx values, probes, batch 7",
        "autoencoder.onnx values, all 64 probes, batch 64",
    ]
    edit(path, lambda proto: edit_tensor(proto, "encoder.0.weight", one_percent))
    assert not verify.verify_against(path, folder, None, TOLERANCE).passed


def test_given_rows_come_before_the_kept_ones(folder: Path) -> None:
    save_rows(folder / "rows.safetensors", ROWS[:11])
    result = verify.verify_against(folder / "decoder.onnx", folder, ROWS[:4], TOLERANCE)
    assert result.passed
    assert "decoder.onnx values, all 4 rows, batch 4" in {check.name for check in result.checks}


def test_rows_of_another_width_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="rows have 5 inputs, the model in .* 6; give its rows"):
        verify.verify_against(folder / "encoder.onnx", folder, ROWS[:, :5], TOLERANCE)


def test_a_folder_that_holds_no_model_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(DataError, match=r"config\.json: cannot be read"):
        verify.verify_against(folder / "encoder.onnx", tmp_path_factory.mktemp("empty"), None, TOLERANCE)


def test_a_file_of_another_model_fails(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write_model(tmp_path_factory.mktemp("other"), tiny_model("tanh", seed=9))
    result = verify.verify_against(other / "autoencoder.onnx", folder, ROWS, TOLERANCE)
    assert "stored tensors" in result.first_failure


# ---------------------------------------------------------------- the tools


def test_values_agree_to_the_tolerance_per_unit_of_the_largest_value() -> None:
    small, large = np.array([[0.5, 0.25]]), np.array([[0.5, 1000.0]])
    assert verify.compare("a", small + 0.9e-5, small, 1e-5).passed
    assert not verify.compare("a", small + 1.1e-5, small, 1e-5).passed
    assert verify.compare("a", large + 0.9e-2, large, 1e-5).passed
    assert not verify.compare("a", large + 1.1e-2, large, 1e-5).passed
    assert verify.compare("a", small - 0.25, small, 1e-5).difference == 0.25


def test_each_column_is_allowed_what_its_own_rounding_moves() -> None:
    values, noise = np.array([[0.5, 0.25], [0.125, 1.0]]), np.array([0.0, 0.25])
    assert verify.compare("a", values + np.array([0, 0.2]), values, 1e-5, noise).passed
    check = verify.compare("a", values + np.array([0.2, 0.2]), values, 1e-5, noise)
    assert not check.passed and check.detail == "largest difference 2.00e-01, allowed 1.00e-05, column 0"


def test_raw_rows_are_expected_as_a_file_with_float32_inside_sees_them(model: Model) -> None:
    far = replace(model, scaling={"kind": "minmax", "offset": [2020.0, *[0.0] * 5], "divisor": [0.5, *[1.0] * 5]})
    scaling = expected.affine(far)
    assert scaling is not None and scaling.coarse
    (rows, _) = expected.expectations(far, ROWS, scaling=scaling)["autoencoder"]
    raw = (ROWS.astype(np.float64) * [0.5, 1, 1, 1, 1, 1] + [2020, 0, 0, 0, 0, 0]).astype(np.float32)
    assert np.array_equal(rows.fed, (raw - scaling.offset) / scaling.divisor) and not np.array_equal(rows.fed, ROWS)
    (given, _) = expected.unscaled({"autoencoder": [rows, rows]}, scaling)["autoencoder"]
    assert np.array_equal(given.fed, raw) and np.array_equal(given.right, rows.right)
    # Half a step of float32 at 2020 to 2020.5, in units of the divisor, four times.
    assert given.noise[0] - rows.noise == pytest.approx(4 * 2**-14 / 0.5, rel=1e-3)
    assert np.all(given.noise[1:] - rows.noise < 1e-6)
    assert expected.affine(replace(model, scaling={"kind": "none", "offset": 0.0, "divisor": 1.0})) is None


def test_values_of_another_shape_or_not_finite_never_agree() -> None:
    values = np.ones((2, 3))
    assert "shape (3, 2), expected (2, 3)" in verify.compare("a", values.T, values, 1e9).detail
    assert not verify.compare("a", values.T, values, 1e9).passed
    for bad in (np.nan, np.inf):
        assert not verify.compare("a", np.full((2, 3), bad), values, 1e9).passed


def test_probes_fill_the_range_of_the_rows_on_every_input() -> None:
    rows = np.array([[0, -3], [0, 5]], np.float32)
    drawn = expected.probes(rows, (2,))
    assert drawn.shape == (64, 2)
    assert drawn.dtype == np.float32
    assert (drawn.min(0) < -2).all()
    assert (drawn.max(0) > 4).all()
    assert drawn.min() >= -3
    assert drawn.max() <= 5
    assert np.array_equal(drawn, expected.probes(rows, (2,)))
    assert 0 <= expected.probes(rows[:0], (2,)).min() < 0.1 < 0.9 < expected.probes(rows[:0], (2,)).max() <= 1


@pytest.mark.parametrize("batch", [1, 7, 20, 100])
def test_batches_of_any_size_give_all_rows_in_order(folder: Path, model: Model, batch: int) -> None:
    got = session.run_batches(folder, session.session(folder / "autoencoder.onnx", 1), ROWS, batch)
    assert got == pytest.approx(reference.reconstruct(model, ROWS)[1], rel=1e-5, abs=1e-5)


def test_a_few_rows_refuse_a_file_only_where_they_show_that_it_loses_too_much(folder: Path, model: Model) -> None:
    path, draws = folder / "autoencoder.onnx", np.random.default_rng(0)
    losses = row_losses_of(path, model, ROWS, "mse")
    noise = np.exp(draws.standard_normal(len(ROWS)))
    noisy = losses * noise * losses.mean() / (losses * noise).mean()
    for right, factor, passed in ((losses, 1.01, True), (losses, 1.03, False), (noisy, 1.03, True), (noisy, 9, False)):
        check = verify.not_known_worse(path, model, ROWS, "mse", 0.02, right / factor)
        assert check.passed == passed, check.detail
        assert f"{factor - 1:+.2%}, allowed +2.00% and" in check.detail


def test_a_variant_with_ends_of_its_own_is_known_by_them(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto, found = onnx.load(folder / "autoencoder.onnx"), folder / "other.onnx"
    rename(proto, {"input": "rows", "reconstruction": "out"})
    onnx.save(proto, found)
    checks = verify.verify_against(found, folder, ROWS, TOLERANCE).checks
    assert [check.name.split()[-1] for check in checks if not check.passed] == ["names"]
    row = VariantRow(write="", ends=("rows", "out"), expects="tests.deploy.test_verify:as_the_autoencoder")
    monkeypatch.setitem(VARIANTS, "other", row)
    result = verify.verify_against(found, folder, ROWS, TOLERANCE)
    assert result.passed, result.first_failure
    assert any("values, rows, batch 7" in check.name for check in result.checks)


def as_the_autoencoder(cases: expected.Expectations, metric: str) -> expected.Expectations:
    assert metric == "mse"
    return {"other": cases["autoencoder"]}


@pytest.mark.parametrize("metric", ["l1", "mse"])
def test_no_step_of_the_reconstruction_moves_a_score_further_than_is_allowed(model: Model, metric: str) -> None:
    cases = expected.expectations(model, ROWS)
    (near, *_), (score, *_) = cases["autoencoder"], expected.scored(cases, metric)["scorer"]
    draws = np.random.default_rng(0)
    for moved in (near.step, -near.step, near.step * draws.choice([-1, 1], near.right.shape)):
        other = reference.row_losses(metric, near.right + moved, near.fed)
        assert 0 < np.abs(other - score.right).max() <= score.step * (1 + 1e-9)


def test_no_checks_are_no_proof() -> None:
    empty = verify.Verification((), TOLERANCE)
    assert not empty.passed
    assert empty.max_difference == 0
    assert empty.first_failure == ""


@pytest.mark.parametrize("good", [True, False])
def test_a_verification_is_written_as_strict_json(folder: Path, model: Model, good: bool) -> None:
    if not good:
        edit(folder / "encoder.onnx", lambda proto: edit_tensor(proto, "encoder.1.bias", lambda bias: bias * np.nan))
    result = verified(folder, model)
    values = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert values["passed"] is good
    assert values["tolerance"] == TOLERANCE
    assert values["versions"]["onnx"] == onnx.__version__
    assert [check["name"] for check in values["checks"]] == [check.name for check in result.checks]
    assert all(check["passed"] for check in values["checks"]) is good
