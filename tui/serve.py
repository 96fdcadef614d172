"""The application as a web page: textual-serve with a page that requests nothing from other hosts.

Whoever can connect can start runs as this user, so page and terminal need the token of the printed address.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import secrets
import shlex
import signal
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp_jinja2
from aiohttp import WSMsgType, web
from rich.console import Console
from textual_serve.app_service import AppService
from textual_serve.server import Server

PAGE = Path(__file__).parent / "page"
MOST_VISITORS = 8
"""Open pages; each has a process of its own."""
LARGEST = (500, 200)
"""Columns and rows of a terminal."""
LONGEST_MESSAGE = 1 << 20
"""Bytes of one message of a page."""
ANY_ADDRESS = ("0.0.0.0", "::", "")
"""Hosts that stand for every address of the machine."""
BEAT_SECONDS = 2.5
"""Between two looks whether a page is still there; its answer may take half as long."""
QUIT_SECONDS = 1.0
"""How long a page's process may take to quit before it is killed."""
HEADERS = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cache-Control": "no-store",
}


class Terminal(AppService):
    """The process behind one page, which ends with the page whatever it is doing."""

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            *shlex.split(self.command),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width=width, height=height),
            start_new_session=True,
        )
        self._stdin = self._process.stdin
        return self._process

    async def stop(self) -> None:
        """Ask the process to quit, then kill it."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(super().stop(), QUIT_SECONDS)
        self.kill()
        await process.wait()

    def kill(self) -> None:
        """Kill the process; the runs it started are detached and continue."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class OwnPageServer(Server):
    """Lets only the page it served itself talk to the terminal, not any page that the visitor's browser has open."""

    def __init__(self, command: str, host: str, port: int, token: str) -> None:
        super().__init__(
            command, host=host, port=port, title="aecompress", templates_path=PAGE, public_url=url(host, port)
        )
        self.console = Console(stderr=True, quiet=True)  # stdout is for data, not for a banner
        self.token = token
        self.terminals: dict[Terminal, asyncio.Task[object] | None] = {}

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.router.add_get("/terminal/{token}", self.handle_websocket)
        app.on_response_prepare.append(_protect)
        return app

    def check_token(self, given: str) -> None:
        """Refuse a visitor without the token.

        Raises:
            HTTPForbidden: it is another one.
        """
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            raise web.HTTPForbidden(text="open the whole address that aecompress watch --serve printed")

    @aiohttp_jinja2.template("app_index.html")
    async def handle_index(self, request: web.Request) -> dict[str, Any]:
        self.check_token(request.query.get("token", ""))
        self.check_host(request)
        return {
            "title": self.title,
            "static": f"http://{request.host}/static/",
            "websocket": f"ws://{request.host}/terminal/{self.token}",
        }

    def check_host(self, request: web.Request) -> None:
        """Refuse a visitor who requests another host than this one; one that is served at every address has many.

        Raises:
            HTTPForbidden: it is another one.
        """
        if self.host not in ANY_ADDRESS and request.host != urlsplit(self.public_url).netloc:
            raise web.HTTPForbidden(text=f"this terminal is for the page at {self.public_url}")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        self.check_token(request.match_info.get("token", ""))
        self.check_host(request)
        if urlsplit(request.headers.get("Origin", "")).netloc != request.host:
            raise web.HTTPForbidden(text=f"this terminal is for the page at {self.public_url}")
        if len(self.terminals) >= MOST_VISITORS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_VISITORS} pages are open; close one")
        websocket = web.WebSocketResponse(heartbeat=BEAT_SECONDS, max_msg_size=LONGEST_MESSAGE)

        async def close() -> None:
            await websocket.close()

        terminal = Terminal(
            self.command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        self.terminals[terminal] = asyncio.current_task()
        try:
            await websocket.prepare(request)
            await terminal.start(*clamped(request.query.get("width"), request.query.get("height")))
            await self._process_messages(websocket, terminal)
        except (asyncio.CancelledError, OSError, RuntimeError, ValueError):
            await websocket.close()
        finally:
            await asyncio.shield(terminal.stop())
            del self.terminals[terminal]
        return websocket

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        async for message in websocket:
            if message.type == WSMsgType.TEXT and not await obeyed(message.data, websocket, app_service):
                await websocket.close()

    async def on_shutdown(self, app: web.Application) -> None:
        for terminal, visit in self.terminals.items():  # an open page would delay the end for a minute
            terminal.kill()
            if visit is not None:
                visit.cancel()

    def serve(self, debug: bool = False) -> None:
        self.initialize_logging()
        loop = asyncio.new_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_exit)
        app = self._make_app()
        web.run_app(
            app, host=self.host, port=self.port, handle_signals=False, loop=loop, print=None, shutdown_timeout=0.5
        )


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def clamped(width: object, height: object) -> tuple[int, int]:
    """Return a terminal's columns and rows within bounds; 80 and 24 where they are no numbers."""
    sizes = []
    for given, default, largest in zip((width, height), (80, 24), LARGEST, strict=True):
        try:
            sizes.append(min(max(int(str(given)[:10]), 1), largest))
        except ValueError:
            sizes.append(default)
    return sizes[0], sizes[1]


async def obeyed(text: str, websocket: web.WebSocketResponse, terminal: AppService) -> bool:
    """Obey one message of a page; return whether it was one."""
    try:
        match json.loads(text):
            case ["stdin", str(keys)]:
                await terminal.send_bytes(keys.encode("utf-8", "replace"))
            case ["resize", {"width": width, "height": height}]:
                await terminal.set_terminal_size(*clamped(width, height))
            case ["ping", int() | float() | str() as data]:
                await websocket.send_json(["pong", data])
            case ["blur", *_]:
                await terminal.blur()
            case ["focus", *_]:
                await terminal.focus()
            case _:
                return False
    except (ValueError, RecursionError):
        return False
    return True


def url(host: str, port: int) -> str:
    """Return the address of a host, in brackets where it is one of IPv6; browsers leave out port 80."""
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}" if port == 80 else f"http://{named}:{port}"


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def serve(command: str, host: str, port: int, token: str) -> None:
    """Serve until SIGINT or SIGTERM; every visitor with the token gets a process that runs ``command``.

    Raises:
        OSError: the address is not free.
    """
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):  # stdout is for data
        OwnPageServer(command, host, port, token).serve()
