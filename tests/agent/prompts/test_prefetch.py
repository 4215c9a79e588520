"""Prompts made before there is a call: the dialogue without I/O, and against a real socket."""

from pathlib import Path
from typing import Any

import pytest

from callerside.agent.call.event_bounds import MOST_BYTES_AT_ONCE
from callerside.agent.call.prompts import PromptName
from callerside.agent.config.loader import Secrets
from callerside.agent.config.settings import Settings
from callerside.agent.prompts.cache import PromptCache
from callerside.agent.prompts.prefetch import (
    Outcome,
    PromptSession,
    WantedPrompt,
    make,
    wanted_prompts,
    warm,
)
from callerside.agent.realtime.client import WebSocketConnection
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent
from callerside.fakes.script.model import Script
from callerside.fakes.server.server import FakeRealtime

QUICK = Script.model_validate({"timing": {"think_ms": 0}})
SLOW = Script.model_validate({"timing": {"think_ms": 20_000}})


def wanted(settings: Settings | None = None) -> WantedPrompt:
    return next(wanted_prompts(settings or Settings.model_validate({})))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def told(dialogue: PromptSession, event_type: str, /, **fields: Any) -> list[dict[str, Any]]:
    return dialogue.handle(RealtimeEvent(event={"type": event_type, **fields}))


def asked(session: PromptSession) -> None:
    (update,) = told(session, "session.created", session={"id": "s"})
    assert update["type"] == "session.update"
    (request,) = told(session, "session.updated", session={})
    assert request["type"] == "response.create"
    assert request["response"]["instructions"] == wanted().instructions
    told(session, "response.created", response={"id": "r", "metadata": {"purpose": "greeting"}})


def test_audio_without_end_is_no_prompt() -> None:
    session = PromptSession(wanted(), 24_000)
    asked(session)
    event = {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i"}
    delta = RealtimeEvent(event={**event, "delta": bytes(96_000)}, size_bytes=2**20)
    for _ in range(MOST_BYTES_AT_ONCE // 2**20):
        session.handle(delta)
    assert not session.over
    session.handle(delta)
    assert session.problem == f"more than {MOST_BYTES_AT_ONCE} bytes came for one prompt"
    assert not session._audio


def test_each_prompt_of_each_route_is_wanted_once() -> None:
    settings = Settings.model_validate(
        {
            "routes": [
                {"called": "1", "voice": "ash"},
                {"called": "2", "greeting": {"enabled": False}},
                {"called": "3", "limits": {"call_ms": 1}},
            ]
        }
    )
    found = [(prompt.called, prompt.what) for prompt in wanted_prompts(settings)]
    assert found == [
        ("1", "greeting"),
        *(("1", name) for name in PromptName),
        *(("2", name) for name in PromptName),
        ("3", "greeting"),
    ]


def test_a_prompt_is_its_audio_and_its_words() -> None:
    session = PromptSession(wanted(), 24_000)
    asked(session)
    ids = {"response_id": "r", "item_id": "i"}
    told(session, "response.output_audio.delta", **ids, delta=b"\0\x51\0\x52")
    told(session, "response.output_audio.delta", **ids, delta=b"\0\x53")
    told(session, "response.output_audio_transcript.done", **ids, transcript="Good day.")
    assert not session.over
    told(session, "response.done", response={"id": "r", "status": "completed"})
    assert session.prompt is not None
    assert (session.prompt.pcm, session.prompt.transcript) == (b"\0\x51\0\x52\0\x53", "Good day.")


def test_what_a_server_says_of_its_own_accord_is_not_the_prompt() -> None:
    session = PromptSession(wanted(), 24_000)
    told(session, "session.created", session={"id": "s"})
    told(session, "session.updated", session={})
    told(session, "response.created", response={"id": "own", "metadata": None})
    own = {"response_id": "own", "item_id": "o"}
    told(session, "response.output_audio.delta", **own, delta=b"\0\x57")
    told(session, "response.output_audio_transcript.done", **own, transcript="Special offers!")
    told(session, "response.done", response={"id": "own", "status": "completed"})
    assert not session.over
    assert session.hint == ": no response had the metadata of its request, by which it is known"
    told(session, "response.created", response={"id": "r", "metadata": {"purpose": "greeting"}})
    told(session, "response.output_audio.delta", response_id="r", item_id="i", delta=b"\0\x51")
    told(session, "response.done", response={"id": "r", "status": "completed"})
    assert session.prompt is not None
    assert (session.prompt.pcm, session.prompt.transcript) == (b"\0\x51", "")


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (
            {"type": "error", "error": {"code": "invalid_value", "message": "no such voice"}},
            "invalid_value: no such voice",
        ),
        (
            {
                "type": "response.done",
                "response": {
                    "id": "r",
                    "status": "failed",
                    "status_details": {"error": {"code": "insufficient_quota"}},
                },
            },
            "the response is failed: insufficient_quota",
        ),
        (
            {"type": "response.done", "response": {"id": "r", "status": "completed"}},
            "the response had no audio",
        ),
        ({"type": "response.done"}, "response.done: no response, expected dict"),
    ],
)
def test_what_went_wrong_is_told(event: dict[str, Any], problem: str) -> None:
    session = PromptSession(wanted(), 24_000)
    asked(session)
    session.handle(RealtimeEvent(event=event))
    assert session.prompt is None
    assert session.problem == problem


def test_audio_in_which_nothing_sounds_is_no_prompt() -> None:
    session = PromptSession(wanted(), 24_000)
    asked(session)
    ids = {"response_id": "r", "item_id": "i"}
    told(session, "response.output_audio.delta", **ids, delta=b"\3\0" * 24_000)
    told(session, "response.done", response={"id": "r", "status": "completed"})
    assert session.prompt is None
    assert session.problem == "nothing can be heard in the response's audio"


def test_a_lost_connection_is_a_problem() -> None:
    session = PromptSession(wanted(), 24_000)
    session.handle(RealtimeClosed(reason="handshake refused: HTTP 401", status=401))
    assert session.problem == "handshake refused: HTTP 401"


async def test_prompts_are_made_once_and_kept(tmp_path: Path) -> None:
    async with FakeRealtime(QUICK) as server:
        settings = Settings.model_validate(
            {"realtime": {"url": server.url}, "greeting": {"cache_dir": str(tmp_path)}}
        )
        outcomes: list[Outcome] = []
        assert await warm(settings, Secrets(), outcomes.append)
        assert [outcome.wanted.what for outcome in outcomes] == ["greeting", *PromptName]
        assert all(outcome.made_ms > 0 for outcome in outcomes)
        assert len(files(tmp_path)) == 1 + len(PromptName)
        outcomes.clear()
        assert await warm(settings, Secrets(), outcomes.append)
        assert [outcome.made_ms for outcome in outcomes] == [0] * (1 + len(PromptName))


async def test_a_server_that_is_not_there_is_told_for_each_prompt(tmp_path: Path) -> None:
    async with FakeRealtime(QUICK) as server:
        url = server.url
    settings = Settings.model_validate(
        {"realtime": {"url": url}, "greeting": {"cache_dir": str(tmp_path)}}
    )
    outcomes: list[Outcome] = []
    assert not await warm(settings, Secrets(), outcomes.append)
    assert all("cannot connect" in str(outcome.problem) for outcome in outcomes)
    assert not files(tmp_path)


async def test_a_prompt_that_is_never_finished_is_given_up(tmp_path: Path) -> None:
    async with FakeRealtime(SLOW) as server:
        settings = Settings.model_validate({"realtime": {"url": server.url}})

        def connect(one: WantedPrompt) -> WebSocketConnection:
            return WebSocketConnection(server.url, model=settings.realtime.model, api_key=None)

        outcome = await make(
            wanted(settings), 24_000, PromptCache(tmp_path), connect, timeout_s=0.3
        )
    assert outcome.problem == "not made within 0.3 s"
