"""Values with places between our order, channels-last, and torch's, channels-first."""

from __future__ import annotations

from torch import Tensor, nn

from aecompress.layers.base import BoundLayer


def as_given(layer: BoundLayer, rows: Tensor) -> Tensor:
    """Return flat rows ``[P, B, D]`` in the shape that ``layer`` is given, ``[P, B, *given]``."""
    return rows if len(layer.given) == 1 else rows.reshape(*rows.shape[:2], *layer.given)


def as_rows(values: Tensor) -> Tensor:
    """Return values ``[P, B, *shape]`` as flat rows ``[P, B, D]``."""
    return values if values.ndim == 3 else values.flatten(2)


class ChannelsFirst(nn.Module):
    """A module of torch's own as a layer from rows ``[N, D]`` to rows: its tensors, and its values channels-first.

    Args:
        inner: takes ``[N, units, *places]``, or flat rows in that order, as ``nn.Linear`` does.
    """

    def __init__(self, layer: BoundLayer, inner: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.flat = isinstance(inner, nn.Linear)
        for name, parameter in inner.named_parameters():
            self.register_parameter(name, parameter)
        self.call = (inner,)  # in a tuple, so that its parameters are this module's alone

    def forward(self, rows: Tensor) -> Tensor:
        """Return what the layer gives before its activation."""
        values = rows.view(-1, *self.layer.given).movedim(-1, 1)
        (inner,) = self.call
        values = inner(values.flatten(1) if self.flat else values)
        places, units = self.layer.gives[:-1], self.layer.gives[-1]
        result: Tensor = values.reshape(-1, units, *places).movedim(1, -1).flatten(1)
        return result

    def extra_repr(self) -> str:
        """Return the module inside."""
        return repr(self.call[0])
