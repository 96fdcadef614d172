"""What this machine has, for refusing what it cannot hold before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Main memory this process may use, in bytes: the machine's, or less where a container is held to less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62  # a system that does not report it is not refused anything
    for limit in _CGROUP_LIMITS:
        try:
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return total


def gib(size: float) -> str:
    """Bytes in words, for messages."""
    return f"{size / 2**30:,.1f} GiB"
