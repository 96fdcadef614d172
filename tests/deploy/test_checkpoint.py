"""The model folder: what is saved is what is loaded, the same bytes on any day, and damage is named."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from aecompress.deploy import checkpoint
from aecompress.deploy.checkpoint import (
    Model,
    load_model,
    load_rows,
    load_state,
    pack,
    save_model,
    save_rows,
    save_state,
    torch_tensors,
    unpack,
)
from aecompress.digests import write_sums
from aecompress.errors import DataError
from tests.deploy.models import INPUTS, tiny_model, tiny_rows


def pruned(model: Model) -> Model:
    """The model with the first weight row of its encoder and one bias at zero."""
    tensors = {name: tensor.copy() for name, tensor in model.tensors.items()}
    tensors["encoder.0.weight"][:, 0] = 0
    tensors["decoder.1.bias"][2] = -0.0
    return replace(model, tensors=tensors)


def same(first: Model, second: Model) -> None:
    assert replace(first, tensors={}) == replace(second, tensors={})
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert second.tensors[name].dtype == np.float32
        assert second.tensors[name].tobytes() == tensor.tobytes()


def test_a_saved_model_is_loaded_equal(tmp_path: Path) -> None:
    model = pruned(tiny_model())
    save_model(tmp_path, model)
    same(load_model(tmp_path), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "config.json", "model.safetensors"]


def test_a_model_counts_its_zeros() -> None:
    model = pruned(tiny_model())
    assert model.parameters == 6 * 5 + 5 + 5 * 3 + 3 + 3 * 5 + 5 + 5 * 6 + 6
    assert model.zeros == INPUTS + 1
    assert model.sparsity == model.zeros / model.parameters


def test_the_config_is_plain_json_that_says_what_is_in_the_weights(tmp_path: Path) -> None:
    model = pruned(tiny_model("relu"))
    save_model(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["format"] == checkpoint.FORMAT == 1
    assert config["encoder"] == [
        {"in": 6, "kind": "dense", "out": 5, "activation": "relu"},
        {"in": 5, "kind": "dense", "out": 3, "activation": "relu"},
    ]
    assert (config["parameters"], config["zeros"], config["sparsity"]) == (109, 7, 7 / 109)
    assert config["scaling"] == model.scaling
    assert config["shape"] == [6]
    assert config["metrics"] == {"test_mse": 0.5}


def test_the_weights_load_with_safetensors_alone_under_torchs_names(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(tmp_path, model)
    plain = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert {name: tensor.shape for name, tensor in plain.items()} == {
        "encoder.0.weight": (5, 6),
        "encoder.0.bias": (5,),
        "encoder.1.weight": (3, 5),
        "encoder.1.bias": (3,),
        "decoder.0.weight": (5, 3),
        "decoder.0.bias": (5,),
        "decoder.1.weight": (6, 5),
        "decoder.1.bias": (6,),
    }
    assert np.array_equal(plain["decoder.1.weight"], model.tensors["decoder.1.weight"].T)


# ---------------------------------------------------------------- the same bytes

GOLDEN_HEADER = (
    b'{"__metadata__":{"aecompress":"{\\"format\\": 1, \\"zeros\\": 0}"},'
    b'"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}'
)


def test_the_bytes_of_a_safetensors_file_are_pinned() -> None:
    packed = pack({"b": np.array([0.5], "f4"), "a": np.array([[1, -2]], "f4")}, {"zeros": 0, "format": 1})
    header = GOLDEN_HEADER + b" " * (-len(GOLDEN_HEADER) % 8)
    values = b"\x00\x00\x80\x3f" + b"\x00\x00\x00\xc0" + b"\x00\x00\x00\x3f"
    assert packed == len(header).to_bytes(8, "little") + header + values


def test_the_order_of_tensors_and_metadata_does_not_change_the_bytes() -> None:
    tensors = tiny_model().tensors
    turned = {name: tensors[name] for name in reversed(tensors)}
    assert pack(tensors, {"a": 1, "b": 2}) == pack(turned, {"b": 2, "a": 1})


def test_the_memory_layout_of_tensors_does_not_change_the_bytes() -> None:
    tensors = tiny_model().tensors
    assert pack(tensors, {}) == pack({name: np.asfortranarray(tensor) for name, tensor in tensors.items()}, {})


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, tiny_model())
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


SAVE_AGAIN = """
import sys
from pathlib import Path
from aecompress.deploy.checkpoint import load_model, save_model
save_model(Path(sys.argv[2]), load_model(Path(sys.argv[1])))
"""


def test_saving_a_loaded_model_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.mkdir()
    save_model(original, tiny_model())
    processes = []
    for seed in ("1", "2", "3"):
        copy = tmp_path / seed
        copy.mkdir()
        command = [sys.executable, "-W", "error", "-c", SAVE_AGAIN, str(original), str(copy)]
        processes.append(subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": seed}))
    assert [process.wait() for process in processes] == [0, 0, 0]
    for file in ("model.safetensors", "config.json"):
        copies = [(tmp_path / seed / file).read_bytes() for seed in ("1", "2", "3")]
        assert copies == [(original / file).read_bytes()] * 3, file


# ---------------------------------------------------------------- damage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, tiny_model())
    return tmp_path


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file}: cannot be read") as fault:
        load_model(folder)
    assert str(folder) in str(fault.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/config\.json: cannot be read .* name a model folder"):
        load_model(tmp_path / "nowhere")


def test_a_pipe_in_the_place_of_the_weights_is_named_and_not_waited_for(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read \(not a file\)"):
        load_model(folder)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_refused(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read as safetensors .* make it again"):
        load_model(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"encoder": [], "decoder": []}',
        b'{"encoder": [3], "decoder": [], "scaling": {}}',
        b'{"encoder": 3, "decoder": [], "scaling": {}}',
        b'{"encoder": [{"in": 1, "out": 2}], "decoder": [], "scaling": {}}',
        b'{"encoder": [{"in": "x", "out": 2, "activation": "relu"}], "decoder": [], "scaling": {}}',
    ],
)
def test_a_config_that_is_no_config_is_refused(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(DataError, match=r"config\.json: is not a model's config .* make the model again"):
        load_model(folder)


def test_a_truncated_config_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"config\.json: is not a model's config"):
        load_model(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder: Path) -> None:
    tensors = torch_tensors(tiny_model()) | {"decoder.0.weight": np.zeros((5, 4), np.float32)}
    (folder / "model.safetensors").write_bytes(pack(tensors, {}))
    with pytest.raises(DataError, match=r"decoder\.0\.weight has shape \(5, 4\), config\.json says \(5, 3\)"):
        load_model(folder)


def test_a_tensor_too_few_or_too_many_is_named(folder: Path) -> None:
    tensors = torch_tensors(tiny_model())
    bias = tensors.pop("encoder.1.bias")
    (folder / "model.safetensors").write_bytes(pack(tensors, {}))
    with pytest.raises(DataError, match=r"encoder\.1\.bias has shape None, config\.json says \(3,\)"):
        load_model(folder)
    (folder / "model.safetensors").write_bytes(pack(tensors | {"encoder.1.bias": bias, "more": bias}, {}))
    with pytest.raises(DataError, match=r"more has shape \(3,\), config\.json says None"):
        load_model(folder)


def test_a_tensor_that_is_not_float32_is_refused(folder: Path) -> None:
    tensors = torch_tensors(tiny_model())
    tensors["encoder.0.weight"] = tensors["encoder.0.weight"].astype(np.float64)
    (folder / "model.safetensors").write_bytes(pack(tensors, {}))
    with pytest.raises(DataError, match=r"encoder\.0\.weight"):
        load_model(folder)


def test_a_model_of_a_later_format_is_refused(folder: Path) -> None:
    configure(folder, format=checkpoint.FORMAT + 1)
    with pytest.raises(DataError, match=r"config\.json.*format"):
        load_model(folder)


@pytest.mark.parametrize("shape", [None, 6, [], [0], [6.0], [True], ["6"], [2, 2]])
def test_a_shape_that_is_none_or_not_that_of_the_layers_is_refused(folder: Path, shape: object) -> None:
    configure(folder, shape=shape)
    with pytest.raises(DataError, match=r"config\.json: is not a model's config .*; make the model again"):
        load_model(folder)


def test_a_config_without_a_shape_is_refused_by_its_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key != "shape"}))
    with pytest.raises(DataError, match=r"config\.json: is not a model's config .*shape.*; make the model again"):
        load_model(folder)


def test_an_unknown_activation_is_refused_by_name(folder: Path) -> None:
    layers = json.loads((folder / "config.json").read_text())["encoder"]
    configure(folder, encoder=[layers[0] | {"activation": "swish"}, *layers[1:]])
    with pytest.raises(DataError, match="swish"):
        load_model(folder)


def test_layers_that_do_not_follow_on_each_other_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    configure(folder, decoder=[config["decoder"][0] | {"in": 4}, config["decoder"][1]])
    tensors = torch_tensors(tiny_model()) | {"decoder.0.weight": np.zeros((5, 4), np.float32)}
    (folder / "model.safetensors").write_bytes(pack(tensors, {}))
    with pytest.raises(DataError, match=r"decoder"):
        load_model(folder)


# ---------------------------------------------------------------- states of a run

ABOUT = {"spec_hash": "ab" * 8, "fingerprint": "cd" * 8, "seed": 3}


def state(generation: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(generation)
    return {
        "weights": random.normal(size=(2, 9)).astype(np.float32),
        "moments": random.normal(size=(2, 9)),
        "masks": random.random((2, 9)) < 0.5,
        "steps": np.array([generation, 0]),
        "none": np.zeros((0, 3), np.float32),
    }


def assert_state(found: dict[str, np.ndarray], generation: int) -> None:
    expected = state(generation)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert found[name].tobytes() == tensor.tobytes()


def test_a_saved_state_is_loaded_to_the_same_bits(tmp_path: Path) -> None:
    path = save_state(tmp_path / "checkpoint", 7, state(7), ABOUT)
    assert path == tmp_path / "checkpoint" / "generation-000007.safetensors"
    generation, tensors, notes = load_state(tmp_path / "checkpoint", ABOUT)
    assert (generation, notes) == (7, [])
    assert_state(tensors, 7)


def test_the_manifest_names_the_state_and_its_checksum(tmp_path: Path) -> None:
    path = save_state(tmp_path, 7, state(7), ABOUT)
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest.pop("seal")
    assert manifest == {"generation": 7, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **ABOUT}


def test_every_single_bit_of_a_model_folder_counts(folder: Path) -> None:
    for path, step in ((folder / "config.json", 1), (folder / "model.safetensors", 7)):
        whole = path.read_bytes()
        for place in range(0, len(whole), step):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(bytes(damaged))
            with pytest.raises(DataError, match=path.name.replace(".", "[.]")):
                load_model(folder)
        path.write_bytes(whole)
    assert load_model(folder)


def test_a_model_without_its_list_of_checksums_is_refused(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"SHA256SUMS: does not list config\.json, so that it cannot be checked"):
        load_model(folder)


def test_rows_that_were_changed_are_refused(folder: Path) -> None:
    save_rows(folder / "rows.safetensors", tiny_rows())
    write_sums(folder)
    assert np.array_equal(load_rows(folder / "rows.safetensors"), tiny_rows())
    flip(folder / "rows.safetensors")
    with pytest.raises(DataError, match=r"rows\.safetensors: was changed or damaged"):
        load_rows(folder / "rows.safetensors")


def test_rows_that_are_gone_are_missed_where_the_folder_lists_them(folder: Path) -> None:
    assert checkpoint.kept_rows(folder) is None
    save_rows(folder / "rows.safetensors", tiny_rows(5))
    write_sums(folder)
    kept = checkpoint.kept_rows(folder)
    assert kept is not None and np.array_equal(kept, tiny_rows(5))
    (folder / "rows.safetensors").unlink()
    with pytest.raises(DataError, match=r"rows\.safetensors: cannot be read .*, but SHA256SUMS lists it"):
        checkpoint.kept_rows(folder)


def test_every_bit_of_a_manifest_counts(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1), ABOUT)
    path = save_state(tmp_path, 8, state(8), ABOUT).with_suffix(".json")
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        if whole[place : place + 1].isspace():
            continue
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        assert load_state(tmp_path, ABOUT)[0] == 1, bytes(damaged)


def test_a_manifest_of_another_generation_than_its_name_is_passed_over(tmp_path: Path) -> None:
    save_state(tmp_path, 8, state(8), ABOUT)
    for ending in ("json", "safetensors"):
        (tmp_path / f"generation-000008.{ending}").rename(tmp_path / f"generation-000009.{ending}")
    generation, _, (note,) = load_state(tmp_path, ABOUT)
    assert generation == 0 and "its manifest is of generation 8" in note


def test_states_are_ordered_by_number(tmp_path: Path) -> None:
    for generation in (999_980, 999_990, 1_000_000, 1_000_010):
        save_state(tmp_path, generation, state(1), ABOUT)
        assert load_state(tmp_path, ABOUT)[0] == generation
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        "generation-1000000.json",
        "generation-1000010.json",
    ]


def test_a_state_written_after_damaged_ones_is_kept(tmp_path: Path) -> None:
    for generation in (2, 4):
        cut(save_state(tmp_path, generation, state(generation), ABOUT))
    save_state(tmp_path, 1, state(1), ABOUT)
    assert load_state(tmp_path, ABOUT)[::2] == (1, [])


def test_the_last_two_states_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    for generation in (8, 9, 10, 11):
        save_state(tmp_path, generation, state(generation), ABOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "generation-000010.json",
        "generation-000010.safetensors",
        "generation-000011.json",
        "generation-000011.safetensors",
    ]
    generation, tensors, _ = load_state(tmp_path, ABOUT)
    assert generation == 11
    assert_state(tensors, 11)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["cut", "one bit", "missing"])
def test_damaged_tensors_are_passed_over_for_the_state_before(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    save_state(tmp_path, 1, state(1), ABOUT)
    damage(save_state(tmp_path, 2, state(2), ABOUT))
    generation, tensors, notes = load_state(tmp_path, ABOUT)
    assert generation == 1
    assert_state(tensors, 1)
    (note,) = notes
    assert note.startswith("generation-000002.safetensors is damaged (")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"sha256": "0"}'])
def test_a_damaged_manifest_is_passed_over_for_the_state_before(tmp_path: Path, text: str) -> None:
    save_state(tmp_path, 1, state(1), ABOUT)
    save_state(tmp_path, 2, state(2), ABOUT).with_suffix(".json").write_text(text)
    generation, _, notes = load_state(tmp_path, ABOUT)
    assert generation == 1
    assert len(notes) == 1


def test_tensors_without_their_manifest_are_no_state(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1), ABOUT)
    save_state(tmp_path, 2, state(2), ABOUT).with_suffix(".json").unlink()
    assert load_state(tmp_path, ABOUT)[0] == 1


def test_without_a_whole_state_a_run_begins_anew(tmp_path: Path) -> None:
    assert load_state(tmp_path / "nowhere", ABOUT) == (0, {}, [])
    cut(save_state(tmp_path, 1, state(1), ABOUT))
    generation, tensors, notes = load_state(tmp_path, ABOUT)
    assert (generation, tensors, len(notes)) == (0, {}, 1)


@pytest.mark.parametrize("key", ABOUT)
def test_a_state_of_another_run_is_refused(tmp_path: Path, key: str) -> None:
    save_state(tmp_path, 1, state(1), ABOUT)
    with pytest.raises(DataError, match=f"generation-000001.json: {key} is .*, this run has 'other'; resume with the"):
        load_state(tmp_path, ABOUT | {key: "other"})


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (save_state(tmp_path / name, 1, state(1), ABOUT) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_bytes() == second.with_suffix(".json").read_bytes()


def test_an_array_is_written_as_plain_npy(tmp_path: Path) -> None:
    checkpoint.write_array(tmp_path / "data.npy", tiny_rows())
    assert np.array_equal(np.load(tmp_path / "data.npy", allow_pickle=False), tiny_rows())
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]


# ---------------------------------------------------------------- rows and single files


def test_kept_rows_are_loaded_equal(tmp_path: Path) -> None:
    rows = tiny_rows()
    save_rows(tmp_path / "rows.safetensors", rows)
    back = load_rows(tmp_path / "rows.safetensors")
    assert back.dtype == np.float32
    assert np.array_equal(back, rows)


@pytest.mark.parametrize(
    "tensors", [{"rows": np.zeros(3, "f4")}, {"row": np.zeros((3, 2), "f4")}, {}, tiny_model().tensors]
)
def test_a_file_without_rows_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    path = tmp_path / "rows.safetensors"
    path.write_bytes(pack(tensors, {}))
    with pytest.raises(DataError, match=r"rows\.safetensors: .*not rows; name a rows\.safetensors"):
        load_rows(path)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 64], ids=["empty", "garbage", "huge header"])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.safetensors: cannot be read as safetensors"):
        unpack(tmp_path / "x.safetensors")


def test_writing_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    checkpoint.write_text(path, "old")
    checkpoint.write_text(path, "nü\n")
    assert path.read_bytes() == "nü\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    checkpoint.write_bytes(path, b"old")
    with pytest.raises(TypeError):
        checkpoint.write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"


def test_a_state_is_a_safetensors_file_that_the_library_reads(tmp_path: Path) -> None:
    tensors = {
        "weights": np.random.default_rng(0).random((3, 7), dtype=np.float32),
        "masks": np.random.default_rng(1).random((3, 7)) > 0.5,
        "total": np.random.default_rng(2).random((2, 3, 2)),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "empty": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "state.safetensors"
    digest = checkpoint.write_state(path, tensors)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    found = safetensors.numpy.load_file(path)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and np.array_equal(found[name], tensor), name
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("metrics", [[], 3, {"test_mse": [0.1]}, {"test_mse": "0.1"}, {"test_mse": None}])
def test_metrics_that_are_not_numbers_are_refused(folder: Path, metrics: object) -> None:
    configure(folder, metrics=metrics)
    with pytest.raises(DataError, match=r"config\.json: is not a model's config \(metrics = .*; make the model again"):
        load_model(folder)
