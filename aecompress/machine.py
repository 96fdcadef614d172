"""What this machine has, for refusing what it cannot hold before anything is written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Return the main memory this process may use, in bytes: the machine's, or a container's or ``ulimit -v``'s."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62  # a system that does not report it is not refused anything
    if resource is not None and (most := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        total = min(total, most)
    for limit in _CGROUP_LIMITS:
        try:
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return total


def free_bytes() -> int:
    """Return how much more main memory this process may take, in bytes: what is free, under the same limits."""
    addresses, held = _taken()
    free = [memory_bytes() - held, *_left_by_system()]
    if resource is not None and (most := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        free.append(most - addresses)
    return max(min(free), 0)


def _left_by_system() -> list[int]:
    """Return the memory that is free or that the system would free; nothing where it does not report it."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        line = next(line for line in _text("/proc/meminfo").splitlines() if line.startswith("MemAvailable:"))
        return [int(line.split()[1]) << 10]
    return []


def _taken() -> tuple[int, int]:
    """Return the bytes of addresses and of memory that this process has taken: 0 where they are not reported."""
    with contextlib.suppress(OSError, ValueError):
        addresses, held = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in _text("/proc/self/statm").split()[:2])
        return addresses, held
    return 0, 0


def _text(path: str) -> str:
    return Path(path).read_text(encoding="ascii")


def gib(size: float) -> str:
    """Return bytes in words, for messages."""
    return f"{size / 2**30:,.1f} GiB"
