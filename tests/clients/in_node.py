"""A client that runs in Node: a process that is told by JSON lines what to do, and tells what came.

`nox -s clients` installs the package into the folder that `CALLERSIDE_NODE` names; the program is
laid beside it, for Node looks there for packages.
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from pathlib import Path

from talk import LIMIT_S, Heard


class InNode:
    """What each program of Node's does; see `talk.Client`."""

    program: str
    """In this folder."""
    lacks: frozenset[str] = frozenset()

    def __init__(self, base_url: str, heard: Heard) -> None:
        self.heard, self.base_url = heard, base_url

    async def open(self) -> None:
        folder = Path(os.environ["CALLERSIDE_NODE"])
        program = shutil.copy(Path(__file__).parent / self.program, folder)
        self.process = await asyncio.create_subprocess_exec(
            "node", program, self.base_url,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": os.environ["SSL_CERT_FILE"]},
        )  # fmt: skip
        self.is_open = asyncio.Event()
        self.task = asyncio.create_task(self.read())
        await asyncio.wait_for(self.is_open.wait(), LIMIT_S)

    async def read(self) -> None:
        async for line in self.process.stdout:
            told = json.loads(line)
            match told["what"]:
                case "open":
                    self.is_open.set()
                case "sound":
                    self.heard.sound(told["bytes"])
                case "tool":
                    self.heard.tools.append(told["name"])
                case "interrupted":
                    self.heard.interruptions += 1
                case "error":
                    self.heard.errors.append(told["message"])
                case "ended":
                    self.heard.ended = True
        self.heard.ended = True

    async def tell(self, **order: str) -> None:
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self.process.stdin.drain()

    async def greet(self) -> None:
        await self.tell(do="greet")

    async def hear(self, pcm: bytes) -> None:
        await self.tell(do="hear", audio=base64.b64encode(pcm).decode())

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self.tell(do="close")
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), LIMIT_S)
        except TimeoutError:
            self.process.kill()
            raise
        await self.task
