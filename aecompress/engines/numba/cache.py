"""Where compiled code is kept between processes, and what empties that cache.

numba keeps the code of a function together with all it calls, but notices changes in the function's own file alone.
Here the kept files lie in a directory named after all sources of this folder, so that no code outlives a change of any
of them. Processor and Python version are in numba's own keys.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba.core.caching import CompileResultCacheImpl, FunctionCache

PREFIX = "aecompress-"
"""Of the directories' names."""
KEPT = 3
"""Directories that are kept, the newest: of the sources as they are, and of those before, which may come back."""


@functools.cache
def source_stamp() -> str:
    """Return a digest of all sources of this folder and of the compiler's version."""
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__)).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def completion_mark(directory: Path) -> Path:
    """Return the file that says that all loops are in ``directory``, compiled for this processor and Python."""
    processor = repr((get_host_cpu_name(), get_host_cpu_features().flatten()))
    return directory / f"{sys.implementation.cache_tag}-{hashlib.sha256(processor.encode()).hexdigest()[:16]}.complete"


def drop_old(directory: Path) -> None:
    """Remove the directories of other sources beside ``directory``, but the newest.

    Another process may do the same, or write into one of them, at the same time: what is gone is compiled again.
    """
    with contextlib.suppress(OSError):
        others = [path for path in directory.parent.glob(f"{PREFIX}*") if path.is_dir() and path != directory]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


class StampedLocator:
    """One of numba's places for kept code, with a directory in it for the sources as they are."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._py_file = inner._py_file

    def get_cache_path(self) -> str:
        """Return the directory of code compiled from the sources as they are."""
        return os.path.join(self._inner.get_cache_path(), PREFIX + source_stamp())  # noqa: PTH118  # numba wants text

    def ensure_cache_path(self) -> None:
        """Make that directory, and remove those of older sources."""
        directory = Path(self.get_cache_path())
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            drop_old(directory)

    def get_source_stamp(self) -> str:
        """Return the digest that compiled code is kept under."""
        return source_stamp()

    def get_disambiguator(self) -> str:
        """Return what distinguishes functions of one name."""
        return str(self._inner.get_disambiguator())


class StampedImpl(CompileResultCacheImpl):
    """numba's reading and writing of compiled code, in the directory of :class:`StampedLocator`."""

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        self._locator = StampedLocator(self._locator)


class StampedCache(FunctionCache):
    """numba's cache of a function, emptied by any change of this folder."""

    _impl_class = StampedImpl

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        """Compile again what cannot be read or is damaged, and keep nothing where nothing can be written."""
        try:
            yield
        except OSError:
            pass
        except Exception:  # numba unpickles what is there, which fails in a dozen ways
            with contextlib.suppress(OSError):
                self._cache_file.flush()


def cached(function: Any) -> Any:
    """Have numba keep the compiled code of ``function``, where there is a place for it."""
    with contextlib.suppress(RuntimeError):  # numba found no place that can be written
        function._cache = StampedCache(function.py_func)
    return function
