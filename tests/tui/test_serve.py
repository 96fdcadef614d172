"""The served page in a real browser: Debian's Chromium, driven by Playwright; CI installs it."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from playwright.sync_api import sync_playwright

from aecompress_tui.serve import BEAT_SECONDS, LARGEST, MOST_VISITORS, QUIT_SECONDS, OwnPageServer, clamped, url

NO_UPGRADE = 400
"""What a terminal answers to a visitor it lets in who does not speak its protocol."""
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
    assert server.stderr is not None
    printed = re.search(r"http://\S+", server.stderr.readline().decode())
    assert printed is not None
    address = printed[0]
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


def status_of(address: str, origin: str = "") -> tuple[int, Message]:
    """The status and the headers of an answer."""
    request = urllib.request.Request(address, headers={"Origin": origin} if origin else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code, refused.headers


def test_neither_page_nor_terminal_opens_without_token_or_from_another_page(served: Served) -> None:
    base, token = served.address.split("/?token=")
    own = f"{base}/terminal/{token}"
    for origin in ("http://evil.example", "null", ""):
        assert status_of(own, origin)[0] == 403
    for address in (
        base,
        f"{base}/?token=",
        f"{served.address}x",
        f"{base}/ws",
        f"{base}/terminal/x",
        f"{base}/terminal/",
    ):
        assert status_of(address, base)[0] in (403, 404), address
    status, headers = status_of(served.address)
    assert (
        status == 200
        and headers["X-Frame-Options"] == "DENY"
        and "frame-ancestors" in headers["Content-Security-Policy"]
    )


def children(process: int) -> list[int]:
    """The processes that a process started and that live."""
    return [
        int(word)
        for task in Path(f"/proc/{process}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]


def test_pages_are_limited_clamped_and_end_with_their_processes(served: Served) -> None:
    base, token = served.address.split("/?token=")
    own = f"{base}/terminal/{token}?width=100000&height=100000"

    async def visit() -> None:
        async with aiohttp.ClientSession() as session:
            pages = [await session.ws_connect(own, headers={"Origin": base}) for _ in range(MOST_VISITORS)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(own, headers={"Origin": base})
            assert refused.value.status == 503
            await pages[0].send_str('["resize", {"width": 1e9, "height": 100000}]')
            for page, odd in zip(pages[1:], ("[", "5", '["stdin", 5]', "[" * 50_000, '["resize", {}]'), strict=False):
                await page.send_str(odd)
            assert len(children(served.server.pid)) == MOST_VISITORS
            begun = time.monotonic()
            for page in pages[:-1]:
                await page.close()
            while len(children(served.server.pid)) > 1:
                assert time.monotonic() - begun < 5
                await asyncio.sleep(0.05)
            begun = time.monotonic()
            served.server.send_signal(signal.SIGINT)  # with a page open
            assert await asyncio.to_thread(served.server.wait, 10) in (0, 130) and time.monotonic() - begun < 2
            await pages[-1].close()

    asyncio.run(visit())


def test_sizes_are_clamped() -> None:
    assert clamped("100", "40") == (100, 40)
    assert clamped("-1", "99999999") == (1, LARGEST[1])
    assert clamped(None, "1e9") == (80, 24) and clamped(10**9, -3) == (LARGEST[0], 1)


@pytest.mark.parametrize(
    ("host", "given", "origin", "token", "status"),
    [
        ("0.0.0.0", "box.lan:8000", "http://box.lan:8000", "t", NO_UPGRADE),
        ("::", "[2001:db8::1]:8000", "http://[2001:db8::1]:8000", "t", NO_UPGRADE),
        ("192.168.1.5", "192.168.1.5:8000", "http://192.168.1.5:8000", "t", NO_UPGRADE),
        ("::1", "[::1]:8000", "http://[::1]:8000", "t", NO_UPGRADE),
        ("0.0.0.0", "box.lan:8000", "http://evil.example", "t", 403),
        ("0.0.0.0", "box.lan:8000", "http://box.lan:8000", "x", 403),
        ("192.168.1.5", "evil.example:8000", "http://evil.example:8000", "t", 403),
    ],
)
def test_the_terminal_opens_at_every_address_that_is_served_and_at_no_other(
    host: str, given: str, origin: str, token: str, status: int
) -> None:
    async def visit() -> tuple[int, int, str]:
        server = OwnPageServer("true", host, 8000, "t")
        async with TestClient(TestServer(await server._make_app())) as client:
            page = await client.get("/", params={"token": token}, headers={"Host": given})
            terminal = await client.get(f"/terminal/{token}", headers={"Host": given, "Origin": origin})
            return page.status, terminal.status, await page.text()

    shown, opened, text = asyncio.run(visit())
    assert opened == status
    if status == NO_UPGRADE:
        assert shown == 200 and f"ws://{given}/terminal/t" in text


def test_a_page_that_is_gone_without_a_word_ends_its_process_within_five_seconds() -> None:
    assert BEAT_SECONDS * 1.5 + QUIT_SECONDS < 5


def test_addresses_as_browsers_write_them() -> None:
    assert url("::1", 8000) == "http://[::1]:8000" and url("127.0.0.1", 80) == "http://127.0.0.1"
