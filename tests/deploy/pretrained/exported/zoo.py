"""Autoencoders as people write them in torch: small, with drawn weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

WIDTH = 12
"""Values of a flat row."""


class Given(NamedTuple):
    """A module that can be taken: what makes it, the shape of its rows, and the kinds of its layers."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    kinds: tuple[str, ...]


def mlp(*between: nn.Module, width: int = WIDTH) -> nn.Sequential:
    """Return a Sequential of two linear layers with other modules between and after them."""
    first, *rest = between or (nn.ReLU(),)
    return nn.Sequential(nn.Linear(width, 5), first, nn.Linear(5, width), *rest)


def used(module: nn.Module, shape: tuple[int, ...] = (WIDTH,)) -> nn.Module:
    """Return a module whose batch norms have seen rows, and whose weights differ from their first values."""
    generator = torch.Generator().manual_seed(7)
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.rand(16, *shape, generator=generator))
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


class Functional(nn.Module):
    """Activations and reshapes in forward, a code beside the reconstruction."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(WIDTH, 7), nn.Linear(7, 4), nn.Linear(4, WIDTH)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.leaky_relu(self.fc1(x.view(x.size(0), -1)), 0.2, inplace=True)
        z = torch.tanh(self.fc2(self.drop(h)))
        return torch.sigmoid(self.fc3(z)).reshape(-1, 3, 4), z


class Variational(nn.Module):
    """Two heads and a sample, as in every tutorial; gives a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mu, self.log_var = nn.Linear(WIDTH, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.decode = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, WIDTH))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.hidden(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return {"recon": self.decode(z), "mu": mu, "log_var": log_var}


class Normal(Variational):
    """The same with torch.distributions."""

    def forward(self, x: Tensor) -> Any:
        h = F.relu(self.hidden(x))
        z = torch.distributions.Normal(self.mu(h), F.softplus(self.log_var(h))).rsample()
        return self.decode(z), z


class Parts(nn.Module):
    """An encoder and a decoder, and a forward that gives the code, as a LightningModule has."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(WIDTH, 6), nn.ReLU(), nn.Linear(6, 2))
        self.decoder = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)  # type: ignore[no-any-return]


class Tied(nn.Module):
    """A decoder with the encoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, WIDTH)), nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.weight.t() - 0.5) @ self.weight + self.bias


class Scaled(nn.Module):
    """Scalers as buffers, and arithmetic with constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(WIDTH))
        self.register_buffer("std", torch.rand(WIDTH) + 0.5)
        self.body = mlp(nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(2 * (x - self.mean) / self.std + 1) * self.std + self.mean  # type: ignore[no-any-return]


class Images(nn.Module):
    """A convolutional autoencoder with batch norm, views and a dense code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 6)
        )
        self.fc = nn.Linear(6, 64)
        self.up = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.fc(self.encoder(x))).view(-1, 4, 4, 4)
        return torch.sigmoid(self.up(h))


class Pooled(nn.Module):
    """Pooling down, upsampling up, odd activations."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, padding="same"), nn.Conv2d(3, 2, 3, padding=1)
        self.c, self.d = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 1, 1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        z = F.avg_pool2d(F.elu(self.b(F.max_pool2d(F.silu(self.a(x)), 2))), 2)
        return self.d(F.interpolate(F.softplus(self.c(self.up(z))), scale_factor=2.0))  # type: ignore[no-any-return]


class Series(nn.Module):
    """Convolutions over the steps of a series ``[L, C]``, which forward turns to channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(2, 4, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose1d(4, 2, 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x.transpose(1, 2))).permute(0, 2, 1)  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """An LSTM whose last state is repeated for a GRU, and a linear layer for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(2, 5, batch_first=True)
        self.decoder = nn.GRU(5, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.encoder(x)
        z = h[-1].unsqueeze(1).repeat(1, x.shape[1], 1)
        return self.out(self.decoder(z)[0])  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A block that adds its input, or a projection of it, to what its layers give."""

    def __init__(self, *body: nn.Module, skip: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*(body or (nn.Linear(WIDTH, 6), nn.ReLU(), nn.Linear(6, WIDTH))))
        self.skip, self.last = skip or nn.Identity(), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        out += self.skip(x)
        return self.last(out)  # type: ignore[no-any-return]


def residual() -> nn.Module:
    """Return blocks with a code between: of rows of any sign, of rows that are not negative, inside of each other."""
    inner = Residual(nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 4), last=nn.ReLU())
    halved = Residual(nn.Linear(WIDTH, 9), nn.ReLU(), nn.Linear(9, 4), skip=nn.Linear(WIDTH, 4))
    return used(nn.Sequential(Residual(), halved, inner, Residual(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, WIDTH)))


def basic(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Return the basic block of a ResNet (He et al. 2016)."""
    body = (
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
    )  # fmt: skip
    skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return Residual(*body, skip=None if inputs == outputs and stride == 1 else skip, last=nn.ReLU())


def residual_images() -> nn.Module:
    """Return a small ResNet as encoder, and a dense decoder."""
    blocks = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), basic(3, 3), basic(3, 4, 2), nn.Flatten())
    return used(nn.Sequential(blocks, nn.Linear(64, 5), nn.Linear(5, 64)), (1, 8, 8))


def normed() -> nn.Module:
    """Return a module with weight norm."""
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(WIDTH, 3)), nn.Linear(3, WIDTH))


def pruned() -> nn.Module:
    """Return a module that torch.nn.utils.prune has pruned, after it was called: it cannot be copied by deepcopy."""
    module = mlp()
    prune.l1_unstructured(module[0], "weight", 0.5)
    module(torch.rand(2, WIDTH))
    return module


DENSE = ("dense", "dense")
TAKEN = {
    "sequential": Given(mlp, (WIDTH,), DENSE),
    "functional": Given(Functional, (3, 4), ()),
    "variational": Given(Variational, (WIDTH,), ("dense",) * 4),
    "normal": Given(Normal, (WIDTH,), ("dense",) * 4),
    "parts": Given(Parts, (WIDTH,), ("dense",) * 4),
    "tied": Given(Tied, (WIDTH,), DENSE),
    "scaled": Given(Scaled, (WIDTH,), DENSE),
    "batch norm": Given(lambda: used(mlp(nn.BatchNorm1d(5), nn.ReLU())), (WIDTH,), DENSE),
    "half": Given(lambda: mlp().half(), (WIDTH,), DENSE),
    "double": Given(lambda: mlp().double(), (WIDTH,), DENSE),
    "lazy": Given(lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(WIDTH)), (WIDTH,), DENSE),
    "weight norm": Given(lambda: normed(), (WIDTH,), DENSE),
    "pruned": Given(pruned, (WIDTH,), DENSE),
    "wrapped": Given(lambda: nn.DataParallel(nn.Sequential(mlp(), nn.Identity())), (WIDTH,), DENSE),
    "residual": Given(residual, (WIDTH,), ("dense",) * 9),
    "residual images": Given(residual_images, (1, 8, 8), ()),
    "images": Given(lambda: used(Images(), (1, 8, 8)), (1, 8, 8), ()),
    "images without a channel": Given(Images, (8, 8), ()),
    "images with the channel last": Given(Images, (8, 8, 1), ()),
    "flat images": Given(Images, (64,), ()),
    "pooled": Given(Pooled, (1, 8, 8), ()),
    "series": Given(Series, (8, 2), ()),
    "recurrent": Given(Recurrent, (6, 2), ()),
}  # fmt: skip
"""Modules that come in."""


def rows_of(shape: tuple[int, ...], count: int = 5) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return rows ``[N, *shape]`` in [0, 1]."""
    return np.random.default_rng(3).random((count, *shape), dtype=np.float32)


class Written(nn.Module):
    """A forward of one function of the rows and some layers."""

    def __init__(self, of: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.of = of
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.last = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Any:
        return self.of(self, x)


def by_steps(module: Any, x: Tensor) -> Tensor:
    """Apply linear layers to each step, in one batch of all steps."""
    count, steps, size = x.shape
    return module.b(module.a(x.reshape(count * steps, size)).relu()).view(count, steps, size)  # type: ignore[no-any-return]


def averaged(module: Any, x: Tensor) -> Tensor:
    """Make a code of averaged channels."""
    return module.c(module.b(module.a(x).relu().mean((2, 3)))).view(-1, 1, 8, 8)  # type: ignore[no-any-return]


def sequence(of: Callable[[Any, Tensor], Tensor], encoder: nn.Module) -> Written:
    """Return a recurrent autoencoder of 6 steps; ``of`` gives what the decoder reads."""

    def forward(module: Any, x: Tensor) -> Tensor:
        return module.out(module.decoder(of(module, x))[0])  # type: ignore[no-any-return]

    return Written(forward, encoder=encoder, decoder=nn.GRU(5, 4, batch_first=True), out=nn.Linear(4, 2))


def two(of: Callable[[Any, Tensor], Any]) -> Written:
    """Return two linear layers ``a`` and ``b`` in a forward of the user's."""
    return Written(of, a=nn.Linear(WIDTH, 4), b=nn.Linear(4, WIDTH))


MORE = {
    "linear by steps": Given(lambda: Written(by_steps, a=nn.Linear(3, 2), b=nn.Linear(2, 3)), (5, 3), ("conv1d",) * 2),
    "two recurrent layers": Given(
        lambda: sequence(
            lambda m, x: m.encoder(x)[1][0][-1].unsqueeze(1).expand(-1, 6, -1), nn.LSTM(2, 5, 2, batch_first=True)
        ),
        (6, 2),
        ("lstm", "lstm", "repeat", "gru", "conv1d"),
    ),
    "last output": Given(
        lambda: sequence(lambda m, x: torch.stack([m.encoder(x)[0][:, -1, :]] * 6, 1), nn.GRU(2, 5, batch_first=True)),
        (6, 2),
        ("gru", "repeat", "gru", "conv1d"),
    ),
    "state repeated first": Given(
        lambda: sequence(lambda m, x: m.encoder(x)[1].repeat(6, 1, 1).permute(1, 0, 2), nn.GRU(2, 5, batch_first=True)),
        (6, 2),
        ("gru", "repeat", "gru", "conv1d"),
    ),
    "steps first inside": Given(
        lambda: sequence(lambda m, x: m.encoder(x.transpose(0, 1))[0].transpose(0, 1), nn.GRU(2, 5)),
        (6, 2),
        ("gru", "gru", "conv1d"),
    ),
    "averaged": Given(
        lambda: Written(averaged, a=nn.Conv2d(1, 6, 3), b=nn.Linear(6, 4), c=nn.Linear(4, 64)), (1, 8, 8), ()
    ),
    "padded": Given(
        lambda: Written(
            lambda m, x: m.b(m.a(F.pad(x, (1, 1, 1, 1))).relu().flatten(1)), a=nn.Conv2d(1, 2, 3), b=nn.Linear(128, 64)
        ),
        (1, 8, 8),
        (),
    ),
    "depthwise": Given(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 2, 1)),
        (2, 4, 4),
        (),
    ),
    "spelled out": Given(
        lambda: two(lambda m, x: m.b((lambda h: F.softsign(h * torch.sigmoid(h)))(m.a(x)))), (WIDTH,), ()
    ),
    "prelu": Given(lambda: mlp(nn.PReLU(5)), (WIDTH,), ("dense", "prelu", "dense")),
    "batch norm everywhere": Given(
        lambda: used(nn.Sequential(nn.BatchNorm1d(WIDTH), *mlp(nn.Tanh(), nn.BatchNorm1d(WIDTH)))), (WIDTH,), DENSE
    ),
    "batch norm of images": Given(
        lambda: used(
            nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 1)), (1, 8, 8)
        ),
        (1, 8, 8),
        (),
    ),
    "colours last": Given(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1)), (8, 8, 3), ()
    ),
    "bilinear": Given(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 1, 3, padding=1)
        ),
        (1, 8, 8),
        (),
    ),
    "compiled": Given(lambda: torch.compile(mlp(), backend="eager"), (WIDTH,), DENSE),
}
"""Further modules, which slow tests read."""


def half() -> nn.Module:
    """Return a layer that gives half as many values."""
    return nn.Linear(WIDTH, WIDTH // 2)


class Refused(NamedTuple):
    """A module that cannot be taken: what the sentence has that refuses it."""

    make: Callable[[], nn.Module]
    words: tuple[str, ...]
    shape: tuple[int, ...] = (WIDTH,)


def branches(module: Any, x: Tensor) -> Tensor:
    """Depend on a value, as no graph can."""
    return module.last(x) if x.mean() > 0 else x  # type: ignore[no-any-return]


REFUSED = {
    "skip": Refused(
        lambda: Written(lambda m, x: m.last(torch.cat([m.a(x), m.b(x)], 1)), a=half(), b=half()),
        ("node 'cat' (cat)", "skip connection", "read one of them alone"),
    ),
    "tanh beside": Refused(
        lambda: nn.Sequential(Residual(nn.Linear(WIDTH, 4), nn.Tanh(), nn.Linear(4, WIDTH)), nn.Linear(WIDTH, WIDTH)),
        ("node 'add' (add) of 0 (Residual) in `out += self.skip(x)`", "a residual connection", "tanh inside"),
    ),
    "two branches": Refused(
        lambda: nn.Sequential(Residual(skip=mlp(nn.Tanh()))), ("adds 0.body.2 and 0.skip.2, a residual", "two branches")
    ),
    "gate": Refused(
        lambda: Written(lambda m, x: m.last(m.a(x) * torch.tanh(x)), a=nn.Linear(WIDTH, WIDTH)),
        ("node 'mul' (mul)", "combines a and tanh"),
    ),
    "layer norm": Refused(lambda: mlp(nn.LayerNorm(5)), ("node 'layer_norm'", "of 1 (LayerNorm)", "BatchNorm")),
    "softmax": Refused(lambda: mlp(nn.Softmax(1)), ("(Softmax)", "use sigmoid")),
    "no running statistics": Refused(
        lambda: mlp(nn.BatchNorm1d(5, track_running_stats=False)), ("of 1 (BatchNorm1d)", "track_running_stats=True")
    ),
    "rnn": Refused(
        lambda: Written(lambda m, x: m.r(x)[0], r=nn.RNN(2, 2, batch_first=True)), ("of r (RNN)", "GRU or LSTM"), (6, 2)
    ),
    "steps first": Refused(
        lambda: Written(lambda m, x: m.r(x)[0], r=nn.GRU(2, 2)), ("of r (GRU)", "batch_first=True"), (6, 2)
    ),
    "two directions": Refused(
        lambda: Written(lambda m, x: m.r(x)[0], r=nn.GRU(2, 1, batch_first=True, bidirectional=True)),
        ("of r (GRU)", "one direction"),
        (6, 2),
    ),
    "batch": Refused(
        lambda: Written(lambda m, x: m.last(x - x.mean(0))), ("'mean' (mean)", "across the rows of a batch")
    ),
    "unknown": Refused(lambda: Written(lambda m, x: m.last(x.sin())), ("node 'sin' (sin)", "layers of torch.nn")),
    "branch": Refused(lambda: Written(branches), ("torch.export makes no graph", "Sequential(encoder, decoder)")),
    "other shape": Refused(lambda: nn.Linear(5, 5), ("raises RuntimeError", "for rows of shape [12]")),
    "no rows back": Refused(lambda: nn.Linear(WIDTH, 3), ("gives [3]", "an autoencoder gives rows back")),
    "the rows": Refused(lambda: nn.Identity(), ("gives its rows back as they are",)),
    "one layer": Refused(lambda: nn.Linear(WIDTH, WIDTH), ("in 1 layer(s)",)),
    "not finite": Refused(lambda: not_finite(), ("0.weight holds values that are not finite",)),
    "meta": Refused(lambda: nn.Sequential(nn.Linear(WIDTH, 3, device="meta")), ("0.weight is on the device meta",)),
    "scripted": Refused(lambda: scripted(), ("TorchScript",)),
}  # fmt: skip


def scripted() -> nn.Module:
    """Return a module of TorchScript, which torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(mlp())  # type: ignore[no-any-return]


def not_finite() -> nn.Module:
    """Return a module with a weight that is not a number."""
    module = mlp()
    with torch.no_grad():
        module[0].weight[0, 0] = torch.nan
    return module
