"""A shop that offers its functions over the Model Context Protocol.

As a program it speaks over standard input and output; `serving` has it over HTTP on loopback. The
protocol's package takes a quarter of a second to import: it is when a shop opens, for each process
of the tests collects all of them.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn


class Shop:
    """What it has been asked, and a server that writes it down."""

    def __init__(self) -> None:
        from mcp.server.mcpserver import MCPServer
        from mcp_types import ToolAnnotations

        read_only = ToolAnnotations(read_only_hint=True)
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.server = MCPServer("shop")
        self.server.tool(description="Whether a table is free.", annotations=read_only)(self.free)
        self.server.tool(description="Book a table.")(self.book)
        self.server.tool(description="Fails.")(self.fail)
        self.server.tool(description="Takes its time.")(self.slow)
        self.server.tool(description="Says a key.")(self.key)
        self.server.tool(description="Says very much.")(self.long)

    def free(self, table: int) -> str:
        self.asked.append(f"free {table}")
        return "yes" if table < 10 else "no"

    def book(self, day: str, guests: int) -> dict[str, object]:
        self.asked.append(f"book {day} {guests}")
        return {"booked": True, "day": day}

    def fail(self) -> str:
        from mcp.server.mcpserver.exceptions import ToolError

        self.asked.append("fail")
        raise ToolError("the book is lost")

    async def slow(self, seconds: float) -> str:
        self.asked.append("slow")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append("slow")
            raise
        return "at last"

    def key(self) -> str:
        return f"the key is {os.environ.get('SHOP_KEY', 'none')}, not {os.environ.get('OTHER')}"

    def long(self, letters: int) -> str:
        return "x" * letters


@contextmanager
def serving(shop: Shop, port: int = 0) -> Iterator[int]:
    """The shop over streamable HTTP at `/mcp`, in a thread of its own; yields its port."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(shop.server.streamable_http_app(), log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
        listening.close()


PROGRAM = Path(__file__)

if __name__ == "__main__":
    Shop().server.run("stdio")
