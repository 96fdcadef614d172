"""matplotlib figures for a notebook."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aecompress.errors import SpecError
from aecompress.pictures import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ready(what: str) -> None:
    """Check, before any work, that a figure can be drawn.

    Raises:
        SpecError: matplotlib is not installed.
    """
    try:
        import_matplotlib()
    except ImportError as fault:
        raise SpecError(f"{what}: needs matplotlib; pip install 'aecompress[plot]'") from fault


def shown(drawn: Any) -> Figure:
    """Return a figure that a notebook shows also where nothing has imported pyplot, whose hooks show others."""
    drawn._repr_png_ = partial(png, drawn)
    figure: Figure = drawn
    return figure


def png(figure: Any) -> tuple[bytes, dict[str, int]]:
    """Return a figure as a PNG, and the pixels of a page that its width takes, fewer than it has itself."""
    from aecompress.runs.figures import rendered

    return rendered(figure, "png"), {"width": round(96 * figure.get_figwidth())}
