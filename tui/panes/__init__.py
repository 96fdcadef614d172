"""The panes of a run's screen and the widgets that they show. A new tab is a module and a row of ``TABS``."""

from __future__ import annotations

from typing import NamedTuple

from .base import Pane
from .front import FrontPane
from .pictures import PicturesPane
from .result import ResultPane
from .run import RunPane


class Tab(NamedTuple):
    """A row of the table of tabs."""

    title: str
    key: str
    pane: type[Pane]

    @property
    def name(self) -> str:
        """Return the tab's name, which is also the identifier of its pane."""
        return self.title.lower()


TABS = (
    Tab("Run", "1", RunPane),
    Tab("Pictures", "2", PicturesPane),
    Tab("Front", "3", FrontPane),
    Tab("Result", "4", ResultPane),
)
