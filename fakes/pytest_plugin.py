"""A pytest fixture: a fake Realtime server in any project's tests.

    def test_my_client_says_hello(fake_realtime):
        server = fake_realtime({"replies": [{"say": "We open at nine."}]})
        my_client.connect(server.url)
        ...
        assert server.marked("committed")

The servers run in a thread of their own, so that it does not matter whether a test is synchronous
or asynchronous, nor with which library.
"""

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

# Loaded with every pytest of an environment: what it needs is imported when the fixture is used.
if TYPE_CHECKING:
    from callerside.fakes.server.server import FakeRealtime
    from callerside.marks import Mark

_LIMIT_S = 30
_LOOK_EVERY_S = 0.01

Result = TypeVar("Result")


class RunningServer:
    """A server that is up: where it is, and what has happened in it so far."""

    def __init__(self, server: "FakeRealtime", marks: "list[Mark]") -> None:
        self.url = server.url
        """For clients that take a whole address."""
        self.base_url = server.base_url
        """For the official client's `websocket_base_url`."""
        self._marks = marks

    @property
    def marks(self) -> "list[Mark]":
        """The timeline of all its sessions."""
        return list(self._marks)

    def marked(self, name: str) -> "list[Mark]":
        """The marks of one name."""
        return [mark for mark in self.marks if mark.name == name]

    def wait_for(self, name: str, *, count: int = 1, within_s: float = 10) -> "list[Mark]":
        """The marks of one name, once there are so many.

        Raises:
            TimeoutError: there are not, after that time; the message names those that there are.
        """
        deadline_s = time.monotonic() + within_s
        while len(found := self.marked(name)) < count:
            if time.monotonic() >= deadline_s:
                names = ", ".join(dict.fromkeys(mark.name for mark in self.marks)) or "none"
                raise TimeoutError(
                    f"{len(found)} of {count} marks {name!r} after {within_s:g} s; there: {names}"
                )
            time.sleep(_LOOK_EVERY_S)
        return found


@pytest.fixture
def fake_realtime() -> Iterator[Callable[..., RunningServer]]:
    """Starts servers: call it with a `Script`, or with a mapping as in a script's YAML.

    Keywords go to `FakeRealtime`: `recording`, `replay`, `options`.
    """
    import asyncio
    import threading

    from callerside.fakes.script.model import Script
    from callerside.fakes.server.server import FakeRealtime

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-realtime", daemon=True)
    thread.start()
    servers: list[FakeRealtime] = []

    def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_LIMIT_S)

    def start(script: Script | Mapping[str, Any] | None = None, **how: Any) -> RunningServer:
        if not isinstance(script, Script):
            script = Script.model_validate(dict(script or {}))
        marks: list[Mark] = []
        server = FakeRealtime(script, on_mark=marks.append, **how)
        wait_for(server.start())
        servers.append(server)
        return RunningServer(server, marks)

    yield start
    for server in servers:
        wait_for(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_LIMIT_S)
    loop.close()
