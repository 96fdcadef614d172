"""What this machine has, for refusing what it cannot hold before anything is written."""

from __future__ import annotations

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


def gib(size: float) -> str:
    """Return bytes in words, for messages."""
    return f"{size / 2**30:,.1f} GiB"
