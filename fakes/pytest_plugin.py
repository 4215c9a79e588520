"""A pytest fixture: a fake Realtime server in any project's tests.

    def test_my_client_says_hello(fake_realtime):
        server = fake_realtime({"replies": [{"say": "We open at nine."}]})
        my_client.connect(server.url)
        (update,) = server.wait_for_events("session.update", sender="client")
        assert update["event"]["session"]["audio"]["output"]["voice"] == "marin"
        server.next(faults=[{"fault": "drop", "at": "next reply + 200ms"}])
        ...
        assert server.marked("committed")

The servers run in a thread of their own, so that it does not matter whether a test is synchronous
or asynchronous, nor with which library.
"""

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import pytest

# Loaded with every pytest of an environment: what it needs is imported when the fixture is used.
if TYPE_CHECKING:
    from callerside.fakes.server.server import FakeRealtime
    from callerside.marks import Mark

_LIMIT_S = 30
_LOOK_EVERY_S = 0.01

Result = TypeVar("Result")


class Run(Protocol):
    """Has something done on the servers' thread."""

    def __call__(self, work: Coroutine[Any, Any, Result], limit_s: float = ...) -> Result:
        """Returns what it returns, or raises what it raises."""


class RunningServer:
    """A server that is up: where it is, what has happened in it so far, and what is to happen."""

    def __init__(self, server: "FakeRealtime", marks: "list[Mark]", run: Run) -> None:
        if server.control is None:
            raise ValueError("the fixture's servers need control: ServerOptions(control=True)")
        self._control = server.control
        self._run = run
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

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions so far: `number`, `name`, `path`, `opened_at_ms`, `open`, `closed`."""

        async def look() -> list[dict[str, Any]]:
            return [record.as_json() for record in self._control.journal.sessions]

        return self._run(look())

    def events(self, type: str = "*", **search: Any) -> list[dict[str, Any]]:  # noqa: A002
        """What has happened so far, the oldest first: events both ways, and marks.

        Each has its `number`, `session`, `at_ms`, `from`, `type` and, without sound, the `event`.

        Args:
            type: of the events, with `*` and `?`; a mark's is its name.
            search: `session`, its number; `sender`, which is `client`, `server` or, of marks,
                `fake`; `after`, the number of an entry; `match`, what the event holds.

        Raises:
            ControlError: there is no such session.
        """
        from callerside.fakes.server.journal import Search

        async def look() -> list[dict[str, Any]]:
            return self._control.events(Search(type=type, **search))

        return self._run(look())

    def wait_for_events(
        self,
        type: str = "*",  # noqa: A002
        *,
        count: int = 1,
        within_s: float = 10,
        **search: Any,
    ) -> list[dict[str, Any]]:
        """The first `events` that are wanted, once there are so many.

        Raises:
            TimeoutError: there are not, after that time; says what there is.
        """
        from callerside.fakes.server.control import ControlError
        from callerside.fakes.server.journal import Search

        wanted = Search(type=type, **search)
        try:
            return self._run(
                self._control.wait(wanted, count=count, within_s=within_s), within_s + _LIMIT_S
            )
        except ControlError as error:
            raise TimeoutError(str(error)) from None

    def next(
        self,
        *,
        replies: Sequence[Mapping[str, Any]] = (),
        faults: Sequence[Mapping[str, Any]] = (),
        session: int | Literal["next"] | None = None,
    ) -> None:
        """Say something else than the script, or have something go wrong.

        Args:
            replies: to the next turns, as in a script.
            faults: as in a script; `at` may be `now`, `next speech`, `next turn` or `next reply`,
                perhaps with `+ 800ms`.
            session: its number, or `next`; None: the only one that is open.

        Raises:
            ControlError: it cannot be; says why.
        """
        self._run(self._control.change(replies, faults, session, may_read_files=True))

    def reset(self) -> None:
        """End every session, and forget all that has happened: as if just started."""
        self._run(self._control.reset())
        self._marks.clear()


@pytest.fixture
def fake_realtime() -> Iterator[Callable[..., RunningServer]]:
    """Starts servers: call it with a `Script`, or with a mapping as in a script's YAML.

    What no script can say is a `ScriptError`, with the key that may have been meant.

    Keywords go to `FakeRealtime`: `recording`, `replay`, `options`.
    """
    import asyncio
    import threading
    from dataclasses import replace

    from callerside.fakes.script.loader import script_of
    from callerside.fakes.script.model import Script
    from callerside.fakes.server.server import FakeRealtime, ServerOptions

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-realtime", daemon=True)
    thread.start()
    servers: list[FakeRealtime] = []

    def wait_for(work: Coroutine[Any, Any, Result], limit_s: float = _LIMIT_S) -> Result:
        return asyncio.run_coroutine_threadsafe(work, loop).result(limit_s)

    def start(script: Script | Mapping[str, Any] | None = None, **how: Any) -> RunningServer:
        if not isinstance(script, Script):
            script = script_of(script or {})
        marks: list[Mark] = []
        options = replace(how.pop("options", None) or ServerOptions(), control=True)
        server = FakeRealtime(script, on_mark=marks.append, options=options, **how)
        wait_for(server.start())
        servers.append(server)
        return RunningServer(server, marks, wait_for)

    yield start
    for server in servers:
        wait_for(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_LIMIT_S)
    loop.close()
