"""The served page in a real browser: Debian's Chromium, driven by Playwright; CI installs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Served(NamedTuple):
    address: str
    server: subprocess.Popen[bytes]


@pytest.fixture
def served(recorded: Path) -> Iterator[Served]:
    """The application on a recorded run, served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aecompress", "watch", str(recorded), "--serve", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            assert server.poll() is None and time.monotonic() < deadline
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Served(address, server)
    finally:
        server.terminate()
        out, errors = server.communicate(timeout=20)
        assert out == b"", "stdout is for data"
        assert b"Traceback" not in errors, errors.decode()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
def test_the_page_draws_the_terminal_obeys_a_key_and_requests_nothing_from_other_hosts(served: Served) -> None:
    requested: list[str] = []
    frames: list[bytes] = []
    errors: list[str] = []

    def received(frame: str | bytes) -> None:
        frames.append(frame if isinstance(frame, bytes) else frame.encode())

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 700})
            page.on("request", lambda request: requested.append(request.url))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("websocket", lambda ws: (requested.append(ws.url), ws.on("framereceived", received)))
            page.goto(served.address)

            def drawn(words: bytes, start: int = 0) -> None:
                deadline = time.monotonic() + 30
                while words not in b"".join(frames[start:]):
                    assert time.monotonic() < deadline, f"{words!r} was never drawn"
                    page.wait_for_timeout(100)

            drawn(b"sparsity by layer")
            assert page.locator(".xterm-screen").count() == 1
            before = page.locator("#terminal").screenshot()
            start = len(frames)
            page.locator("#terminal").click()
            page.keyboard.press("2")
            drawn(b"validation rows", start)
            page.wait_for_timeout(500)
            assert page.locator("#terminal").screenshot() != before
            # The server ends at once though the page is still open, which shows it.
            begun = time.monotonic()
            served.server.terminate()
            assert served.server.wait(20) == 0 and time.monotonic() - begun < 10
            page.wait_for_selector(".closed", state="visible")
        finally:
            browser.close()
    assert len(requested) >= 4 and any(url.startswith("ws:") for url in requested)
    assert {urlsplit(url).hostname for url in requested} == {"127.0.0.1"}
    assert errors == []


def test_another_page_of_the_browser_cannot_open_the_terminal(served: Served) -> None:
    for origin in ("http://evil.example", "null", ""):
        request = urllib.request.Request(f"{served.address}/ws", headers={"Origin": origin} if origin else {})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 403
        refused.value.close()
