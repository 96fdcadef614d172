"""The application as a web page: textual-serve with a page that requests nothing from other hosts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from rich.console import Console
from textual_serve.server import Server

PAGE = Path(__file__).parent / "page"


class OwnPageServer(Server):
    """Lets only the page it served itself talk to the terminal, not any page that the visitor's browser has open."""

    def __init__(self, command: str, host: str, port: int) -> None:
        super().__init__(command, host=host, port=port, title="aecompress", templates_path=PAGE)
        self.console = Console(stderr=True, quiet=True)  # stdout is for data, not for a banner
        self.visits: set[asyncio.Task[object]] = set()

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        origin = urlsplit(request.headers.get("Origin", "")).netloc
        if origin != request.host or origin != urlsplit(self.public_url).netloc:
            raise web.HTTPForbidden(text=f"this terminal is for the page at {self.public_url}")
        visit = asyncio.current_task()
        assert visit is not None
        self.visits.add(visit)
        try:
            return await super().handle_websocket(request)
        finally:
            self.visits.discard(visit)

    async def on_shutdown(self, app: web.Application) -> None:
        for visit in self.visits:  # an open page would delay the end for a minute
            visit.cancel()


def serve(command: str, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; every visitor gets a process that runs ``command``.

    Raises:
        OSError: the address is not free.
    """
    OwnPageServer(command, host, port).serve()
