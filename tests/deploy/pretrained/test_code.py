"""``FILE.py:NAME``: what is such a name, what it may hold, and sentences for what it may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aecompress.children import isolated
from aecompress.deploy.pretrained.code import Code, check_trusted, code_in, load_module, read_code
from aecompress.errors import DataError, SpecError

SOURCE = b"""
import beside
from torch import nn

class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = nn.Linear(beside.WIDTH, width)

class Wide(Net):
    def __init__(self, width):
        super().__init__(width)

def make(): return Net()
def weights(): return Net().state_dict()
def fails(): raise RuntimeError("no file of weights\\nsecond line")
def leaves(): raise SystemExit(3)
net = Net()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_bytes(SOURCE)
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    return tmp_path


def loaded(folder: Path, name: str, seed: int = 0) -> torch.nn.Module:
    code = Code(Path("net.py"), name)
    content, _ = read_code(code, folder)
    return load_module(code, content, seed, folder)


def test_a_name_of_code_is_a_file_of_python_and_a_name_in_it() -> None:
    assert code_in("a/b.py:Net") == Code(Path("a/b.py"), "Net") and str(code_in("b.py:nets.Big")) == "b.py:nets.Big"
    assert code_in("C:/nets/b.py:Net") == Code(Path("C:/nets/b.py"), "Net")
    for other in ("model.pt", "b.py", "b.py:", "b.py:2", "b.py:a b", "b.txt:Net", ""):
        assert code_in(other) is None, other


def test_code_needs_trust_and_files_of_weights_do_not() -> None:
    check_trusted("model.pt", False)
    check_trusted("b.py:Net", True)
    for init, words in (("b.py:Net", "add --trust-code"), ("b.py", "b.py:NAME")):
        with pytest.raises(SpecError, match=words):
            check_trusted(init, False)


@pytest.mark.parametrize("name", ["Net", "make", "net", "net.layer"])
def test_a_module_its_class_and_a_function_that_returns_it_are_taken(folder: Path, name: str) -> None:
    state, path = torch.get_rng_state(), list(sys.path)
    found = loaded(folder, name)
    assert isinstance(found, torch.nn.Module) and torch.equal(torch.get_rng_state(), state) and sys.path == path
    weights = [next(each.parameters()) for each in (found, loaded(folder, name), loaded(folder, name, seed=1))]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Gone", "net.py: has no Gone; it has Net, Wide, make, weights, fails, leaves"),
        ("Wide", r"net.py:Wide: takes arguments \(width\); write a function without arguments"),
        ("weights", "net.py:weights: returns OrderedDict; return a torch.nn.Module"),
        ("fails", r"net.py:fails: raises RuntimeError \(no file of weights\); correct it"),
        ("leaves", r"net.py:leaves: raises SystemExit"),
        ("SOURCE", "has no SOURCE"),
        ("beside", "net.py:beside: is of type module; name a torch.nn.Module, its class or a function"),
    ],
)
def test_what_is_no_module_is_refused_in_one_sentence(folder: Path, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        loaded(folder, name)
    assert "\n" not in str(caught.value)


def test_a_file_that_fails_or_is_not_there_is_refused_with_its_line(folder: Path) -> None:
    for source, words in (
        ("import torch\nraise OSError('no disk')\n", r"net.py: raises OSError in line 2 \(no disk\); correct it"),
        ("def f(:\n", r"net.py: raises SyntaxError"),
        ("import aecompress_gone\n", r"net.py: raises ModuleNotFoundError in line 1"),
    ):
        (folder / "net.py").write_text(source)
        with pytest.raises(DataError, match=words):
            loaded(folder, "Net")
    with pytest.raises(DataError, match=r"gone.py: cannot be read \(No such file or directory\)"):
        read_code(Code(Path("gone.py"), "Net"), folder)


def test_whether_code_is_trusted_is_checked_without_torch() -> None:
    code = "import sys, aecompress.deploy.pretrained.code; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(isolated(code), capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
