"""The sparsity of every layer of one cell."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from aecompress.events import LayerSparsity

from .. import draw


class Layers(Static):
    """Sparsity of every layer of encoder and decoder as bars."""

    count = 0
    """Layers drawn; only another number of them takes another height."""

    def show(self, layers: LayerSparsity | None, cell: int) -> None:
        """Draw the layers of ``cell``."""
        if layers is None:
            self.update(Text("no layers yet", "dim"))
            return
        values = layers.sparsity[min(cell, len(layers.sparsity) - 1)]
        width = max(self.size.width - 20, 5)
        text = Text(f"sparsity by layer, cell {cell}", "dim", no_wrap=True)
        for name, value in zip(layers.layers, values, strict=True):
            text.append(f"\n{name:<11.11} ")
            text.append(draw.bar(value, width), "cyan" if name.startswith("encoder") else "magenta")
            text.append(f" {value:6.1%}")
        self.update(text, layout=len(values) != self.count)
        self.count = len(values)
