"""State dicts as people write them: each comes in and computes what its module does, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from aecompress.deploy import reference
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.deploy.pretrained.tried import Requested, tried
from aecompress.errors import DataError

Linear, Seq = nn.Linear, nn.Sequential
D = 10


def rows_of(shape: tuple[int, ...]) -> torch.Tensor:
    """Return rows near a curved surface of three dimensions."""
    random = torch.Generator().manual_seed(0)
    count = int(np.prod(shape))
    hidden = torch.randn(256, 3, generator=random) @ torch.randn(3, count, generator=random)
    return (torch.tanh(hidden) * 2 + 1).reshape(-1, *shape)


class Parts(nn.Module):
    """Modules of given names, one after the other."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.order = list(parts.values())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for part in self.order:
            rows = part(rows)
        return rows


class Activated(nn.Module):
    """A chain of linear layers with an activation after those that are hidden."""

    def __init__(self, names: str, sizes: list[int], plain: int = 1) -> None:
        super().__init__()
        self.names, self.plain = names.split(), plain
        for name, before, after in zip(self.names, sizes, sizes[1:], strict=False):
            setattr(self, name, Linear(before, after))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for index, name in enumerate(self.names):
            rows = getattr(self, name)(rows)
            rows = rows if index in (self.plain, len(self.names) - 1) else F.relu(rows)
        return rows


class TwoHeads(nn.Module):
    """The variational autoencoder of torch's examples, by its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.mu, self.logvar = Linear(D, 8), Linear(8, 3), Linear(8, 3)
        self.fc3, self.fc4 = Linear(3, 8), Linear(8, D)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.fc4(F.relu(self.fc3(self.mu(F.relu(self.fc1(rows))))))


class Buffers(nn.Module):
    """Rows scaled by buffers inside of it, and outputs scaled back."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain()
        self.register_buffer("mean", torch.linspace(0, 1, D))
        self.register_buffer("std", torch.linspace(1, 2, D))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.body((rows - self.mean) / self.std) * self.std + self.mean


class Series(nn.Module):
    """A series of channels-last rows, convolved by torch's channels-first modules."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Seq(nn.Conv1d(3, 6, 3, 2, 1), nn.Tanh(), nn.Flatten(), Linear(24, 4))
        self.decoder = Seq(Linear(4, 24), nn.Tanh(), nn.Unflatten(1, (6, 4)), nn.ConvTranspose1d(6, 3, 3, 2, 1, 1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(rows.transpose(1, 2))).transpose(1, 2)


def plain(activation: Callable[[], nn.Module] = nn.ReLU, **parts: nn.Module) -> Parts:
    """Return encoder and decoder in sequences, and what else the module has."""
    encoder = Seq(Linear(D, 8), activation(), Linear(8, 3))
    module = Parts(encoder=encoder, decoder=Seq(Linear(3, 8), activation(), Linear(8, D)))
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def short() -> nn.Module:
    return Parts(enc=plain().encoder, dec=plain().decoder)


def normed(early: bool) -> nn.Module:
    def layer(before: int, after: int) -> list[nn.Module]:
        both = [nn.BatchNorm1d(after), nn.ReLU()]
        return [Linear(before, after), *(both[::-1] if early else both)]

    return Parts(encoder=Seq(*layer(D, 8), Linear(8, 3)), decoder=Seq(*layer(3, 8), Linear(8, D)))


def block(before: int, after: int) -> nn.Module:
    """Return a layer as PyOD has it."""
    return Parts(linear=Linear(before, after), activation=nn.ReLU(), dropout=nn.Dropout(0.0))


def pyod() -> nn.Module:
    return Parts(encoder=Seq(block(D, 8), block(8, 5)), decoder=Seq(block(5, 8), Linear(8, D)))


def input_normed() -> nn.Module:
    module = plain()
    module.encoder = Seq(nn.BatchNorm1d(D), *module.encoder)
    module.order = [module.encoder, module.decoder]
    return module


def weight_normed() -> nn.Module:
    module = plain()
    parametrizations.weight_norm(module.encoder[0])
    parametrizations.spectral_norm(module.decoder[2])
    return module


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "enc-dec": (short, (D,)),
    "sdcn": (lambda: Activated("enc_1 enc_2 z_layer dec_1 dec_2 x_bar_layer", [D, 9, 8, 3, 8, 9, D], 2), (D,)),
    "equal-widths": (lambda: Activated("inp hidden code out", [D] * 5, -1), (D,)),
    "tanh": (lambda: plain(nn.Tanh), (D,)),
    "elu": (lambda: plain(nn.ELU), (D,)),
    "leaky-relu": (lambda: plain(lambda: nn.LeakyReLU(0.2)), (D,)),
    "prelu": (lambda: plain(nn.PReLU), (D,)),
    "batch-norm-before": (lambda: normed(False), (D,)),
    "batch-norm-after": (lambda: normed(True), (D,)),
    "batch-norm-of-inputs": (input_normed, (D,)),
    "pyod": (pyod, (D,)),
    "weight-and-spectral-norm": (weight_normed, (D,)),
    "extra-head": (lambda: plain(classifier=Linear(3, 2)), (D,)),
    "two-heads": (TwoHeads, (D,)),
    "buffers": (Buffers, (D,)),
    "series": (Series, (8, 3)),
}


FAST = ("enc-dec", "equal-widths", "elu", "batch-norm-after", "pyod", "two-heads")
"""The others are slow."""


def trained(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    module, rows = make().train(), rows_of(shape)
    optimizer = torch.optim.Adam(module.parameters(), 0.01, fused=True)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(module(rows), rows).backward()
        optimizer.step()
    return module.eval(), rows


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES])
def test_a_state_dict_comes_in_as_the_function_that_it_was(tmp_path: Path, name: str) -> None:
    module, rows = trained(*CASES[name])
    torch.save(module.state_dict(), tmp_path / "a.pt")
    flat, shape = rows.flatten(1).numpy(), tuple(rows.shape[1:])
    found = tried(read_pretrained(tmp_path / "a.pt", shape), flat, shape, Requested())
    assert not found.rival
    chain = bound(found.model, shape)
    given = flat.reshape(-1, *chain[0].given)
    own = module(rows).detach().flatten(1).numpy()
    assert reference.run(chain, found.model.tensors, given).reshape(own.shape) == pytest.approx(own, abs=1e-4)
    assert found.loss == pytest.approx(float(((own - flat) ** 2).mean()), rel=1e-3)
    assert found.loss < 0.5 * found.constant


def test_a_log_variance_is_kept_for_training_where_names_say_so(tmp_path: Path) -> None:
    module = TwoHeads()
    torch.save(module.state_dict(), tmp_path / "a.pt")
    found = read_pretrained(tmp_path / "a.pt", (D,))
    assert np.array_equal(found.tensors["log_variance.weight"], module.logvar.weight.detach().numpy().T)
    assert np.array_equal(found.tensors["encoder.1.weight"], module.mu.weight.detach().numpy().T)
    assert "logvar is left out" in found.notes[0]


def test_sorted_names_are_taken_in_the_one_order_that_chains(tmp_path: Path) -> None:
    module = Activated("enc1 enc2 dec1 dec2", [D, 8, 3, 8, D])
    safetensors.torch.save_file(module.state_dict(), tmp_path / "a.safetensors")
    found = read_pretrained(tmp_path / "a.safetensors", (D,))
    assert np.array_equal(found.tensors["encoder.0.weight"], module.enc1.weight.detach().numpy().T)
    module = Activated("inp hidden code out", [D] * 5)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "b.safetensors")
    with pytest.raises(DataError, match=r"more than one order \(code, hidden, inp, out; or .* keeps the order"):
        read_pretrained(tmp_path / "b.safetensors", (D,))


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (
            lambda path: torch.save(plain(), path),
            r"model = torch\.load\('a\.pt', weights_only=False\) and then torch\.s",
        ),
        (lambda path: torch.jit.save(torch.jit.trace(plain(), torch.ones(2, D)), path), r"model = torch\.jit\.load\("),
        (
            lambda path: torch.save(Seq(Linear(D, 4), nn.LayerNorm(4), Linear(4, D)).state_dict(), path),
            "is a layer norm",
        ),
        (lambda path: torch.save(plain().state_dict() | {"temperature": torch.ones(1)}, path), "temperature is not a"),
        (lambda path: torch.save(nn.LSTM(3, 4, bidirectional=True).state_dict(), path), "reads its rows both ways"),
        (lambda path: torch.save(nn.RNN(3, 4).state_dict(), path), "is a plain recurrent layer"),
    ],
    ids=["module", "torchscript", "layer-norm", "another-layer", "both-ways", "recurrent"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_come_in_is_refused_in_the_users_words(
    tmp_path: Path, save: Callable[[Path], None], message: str
) -> None:
    save(tmp_path / "a.pt")
    with pytest.raises(DataError, match=message):
        read_pretrained(tmp_path / "a.pt", (D,))


def test_what_rows_do_not_show_has_a_rival(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, rows = Parts(encoder=Linear(D, 4), code=nn.Sigmoid(), decoder=Linear(4, D)), rows_of((D,))
    torch.save(module.state_dict(), tmp_path / "a.pt")  # as it was drawn
    found = tried(read_pretrained(tmp_path / "a.pt", (D,)), rows.numpy(), (D,), Requested())
    assert found.rival or found.loss > 0.9 * found.constant


def test_activations_that_are_requested_are_taken(tmp_path: Path) -> None:
    module, rows = trained(lambda: plain(nn.Tanh), (D,))
    torch.save(module.state_dict(), tmp_path / "a.pt")
    found = read_pretrained(tmp_path / "a.pt", (D,))
    layers = ("relu", "identity", "gelu", "sigmoid")
    for requested, trials in ((Requested(layers=layers), 1), (Requested("relu", "identity", "sigmoid"), 1)):
        outcome = tried(found, rows.numpy(), (D,), requested)
        expected = layers if requested.layers else ("relu", "identity", "relu", "sigmoid")
        assert tuple(each.activation for each in (*outcome.model.encoder, *outcome.model.decoder)) == expected
        assert outcome.trials == trials
    assert replace(outcome.model, tensors={}).inputs == D


def test_a_relu_that_is_hardly_ever_off_is_not_taken_for_none(tmp_path: Path) -> None:
    rows = rows_of((D,))
    _, _, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    module = Parts(encoder=Linear(D, 3), code=nn.ReLU(), decoder=Linear(3, D))
    with torch.no_grad():
        module.encoder.weight.copy_(directions[:3])
        module.encoder.bias.copy_(-torch.quantile(rows @ directions[:3].T, 0.03, dim=0))
        module.decoder.weight.copy_(directions[:3].T)
        module.decoder.bias.copy_(rows.mean(0) - (module.encoder(rows)).mean(0) @ directions[:3])
    torch.save(module.state_dict(), tmp_path / "a.pt")
    assert tried(read_pretrained(tmp_path / "a.pt", (D,)), rows.numpy(), (D,), Requested()).rival
