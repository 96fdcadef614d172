"""Free memory is what is left under every limit."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aecompress.machine import free_bytes, memory_bytes


def test_no_more_is_free_than_there_is() -> None:
    assert 0 < free_bytes() <= memory_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts addresses, which only Linux reports")
def test_a_limit_leaves_what_is_above_the_addresses_taken() -> None:
    code = (
        "import resource; from aecompress.machine import free_bytes\n"
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + (64 << 20),) * 2)\n"
        "print(free_bytes())"
    )
    free = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 56 << 20 < free <= 64 << 20
