"""Triton 3.6's interpreter beside NumPy 2.4 and newer, which no longer makes an integer of an array of one number."""

from __future__ import annotations

import importlib.util
from typing import Any


def mend_interpreter() -> None:
    """Let kernels that are interpreted count with numbers that they have read."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def mended(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = mended


if importlib.util.find_spec("triton") is not None:
    mend_interpreter()
