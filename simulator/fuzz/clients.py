"""Clients of the fake that nobody thought of: what it hears and sends must add up for each of them.

A client is a list of requests and waits. Half of them end turns themselves, and what the fake has
of each is what was appended before it was committed; half leave it to the fake's ear. What passed
is then replayed to a client that interrupts earlier, and has to be the same where others of its
kind are served beside it.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from callerside.audio import AudioFormat
from callerside.clock import ms_to_ns
from callerside.fakes.recording.format import Entry, Header, Recording, part_of
from callerside.fakes.recording.replay import ReplaySession
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare
from callerside.fakes.script.prepared import PreparedScript
from callerside.fakes.session import interface
from callerside.fakes.session.session import RealtimeSession
from callerside.simulator.fuzz.choices import Choices, chance, one_of
from callerside.simulator.fuzz.sayings import REPLIES

_RATE_HZ = 24_000
_MOST_REQUESTS = 14
_AT_THE_END_MS = 60_000
_MIN_COMMIT_MS = 100
_LOUD = bytes((0, 40, 0, 216))
"""Two samples, of a tone at half the rate."""
_OF_A_RESPONSE = "response."
_PARTS = ("response.output_item", "response.content_part")
"""Each is `added`, and `done` before its response is."""
_AT_ONCE = 3
_OVER = object()
_FRAME_MS = 32
"""In which the fake's ear hears."""
_ENDS_NO_TURN_MS = 8_000
"""Silence by which each turn has ended, whatever a session asks for."""


@dataclass
class Client:
    """Talks to a session in memory, and keeps what passed."""

    session: RealtimeSession | ReplaySession
    names_events: bool = True
    """Whether its events have ids, as an official client's need not."""
    now_ns: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    passed: list[Entry] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    sent: int = 0

    def feed(self, given: interface.Input) -> None:
        """Tell the session something, and take what it says."""
        if isinstance(given, interface.ClientEvent):
            self.passed.append(Entry(self.now_ns / 1e9, "client", dict(given.event)))
        for effect in self.session.handle(given, self.now_ns):
            if isinstance(effect, interface.SendEvent):
                self.passed.append(Entry(self.now_ns / 1e9, "server", dict(effect.event)))
                self.events.append(dict(effect.event))
            elif isinstance(effect, interface.SetTimer):
                self.timers[effect.name] = effect.at_ns
            elif isinstance(effect, interface.CancelTimer):
                self.timers.pop(effect.name, None)

    def send(self, kind: str, **fields: Any) -> None:
        """A request."""
        self.sent += 1
        named = {"event_id": f"client_{self.sent}"} if self.names_events else {}
        self.feed(interface.ClientEvent({"type": kind, **named, **fields}))

    def wait(self, length_ms: float) -> None:
        """Let time pass."""
        end_ns = self.now_ns + ms_to_ns(length_ms)
        while self.timers:
            name = min(self.timers, key=lambda one: self.timers[one])
            if self.timers[name] > end_ns:
                break
            self.now_ns = max(self.now_ns, self.timers.pop(name))
            self.feed(interface.TimerFired(name))
        self.now_ns = end_ns

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Events of a type."""
        return [event for event in self.events if event["type"] == kind]


Request = Mapping[str, Any]


def generate_client(choices: Choices) -> dict[str, Any]:
    """What a client does: how it begins, its requests, and how long it waits behind each."""
    by_hand = bool(one_of(choices, (1, 0)))
    client: dict[str, Any] = {
        "by_hand": by_hand,
        "often": one_of(choices, ("", "", "", "create", "commit", "cancel", "clear")),
        "names_events": bool(one_of(choices, (1, 0))),
        "format": one_of(choices, ("audio/pcm", "audio/pcmu")),
        "requests": [],
        "think_ms": one_of(choices, (100, 800)),
        "pace": one_of(choices, (12, 1)),
    }
    if not by_hand:
        client["threshold"] = one_of(choices, (0.5, 0.1, 0.8))
        client["idle_timeout_ms"] = 5000 if chance(choices, 2) else None
    while len(client["requests"]) < _MOST_REQUESTS and (
        len(client["requests"]) < 2 or choices.up_to(7)
    ):
        client["requests"].append(_request(choices, client))
    if not by_hand and chance(choices, 3):  # it leaves turns to nobody, and later to the fake again
        places = sorted(choices.up_to(len(client["requests"])) for _ in range(2))
        for place, on in zip(reversed(places), (True, False), strict=True):
            client["requests"].insert(place, {"kind": "detection", "on": on, "wait_ms": 0})
    return client


def _request(choices: Choices, client: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ["append", "append", "append", "commit", "create", "cancel", "clear"]
    kinds += ["commit", "append"] if client["by_hand"] else ["silence", "append", "silence"]
    kind = one_of(choices, kinds)
    if client["often"] and chance(choices, 2):
        kind = client["often"]
    wait_ms = one_of(choices, (0, 0, 0, 20, 200, 700, 3000))
    request: dict[str, Any] = {"kind": kind, "wait_ms": wait_ms}
    if kind == "append":
        request["length_ms"] = one_of(choices, (100, 60, 500, 1500))
        request["odd"] = chance(choices, 3)
    elif kind == "silence":
        request["length_ms"] = one_of(choices, (1000, 3000, 6000))
    return request


def play_client(data: Mapping[str, Any]) -> Iterator[str]:
    """Play a client, and yield a sentence for each thing that does not add up."""
    client, hands, requests = _begun(data, _prepared(data))
    for _ in requests:
        pass
    yield from _beside_others(client.events, data)
    if data["by_hand"] and _has_unasked(client):
        yield "a response came that was not asked for, or whose request was refused"
    yield from _in_order(client)
    yield from _in_pairs(client)
    yield from hands.complaints() if data["by_hand"] else _turns(client, hands)
    yield from _replayed(client, data)


def _prepared(data: Mapping[str, Any]) -> PreparedScript:
    script = Script.model_validate(
        {
            "replies": [{"say": REPLIES[0]}],
            "default_reply": {"say": REPLIES[1]},
            "timing": {"think_ms": data["think_ms"], "pace": data["pace"]},
        }
    )
    return prepare(script)


def _begun(
    data: Mapping[str, Any], prepared: PreparedScript
) -> tuple[Client, "_ByHand", Iterator[None]]:
    """A client of a session of its own, and what it does from here to its end, step by step."""
    session = RealtimeSession(prepared, call="client", rng=random.Random(0))
    client = Client(session, names_events=data["names_events"])
    hands = _ByHand(client, AudioFormat("pcmu" if data["format"] == "audio/pcmu" else "pcm"))

    def requests() -> Iterator[None]:
        client.feed(interface.ConnectionRequested())
        client.send("session.update", session=_session(data))
        for request in data["requests"]:
            yield
            _do(request, client, hands, data)
            client.wait(request["wait_ms"])
        if not data["by_hand"]:
            hands.append(bytes(2 * _RATE_HZ * _ENDS_NO_TURN_MS // 1000), odd=False)
        yield
        client.wait(_AT_THE_END_MS)

    return client, hands, requests()


def _beside_others(alone: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> Iterator[str]:
    """Of one script several sessions are served in turn, each a step behind the one before it."""
    prepared = _prepared(data)
    begun = [_begun(data, prepared) for _ in range(_AT_ONCE)]
    served: list[Iterator[None]] = []
    waiting = [requests for _, _, requests in begun]
    while served or waiting:
        served += [waiting.pop(0)] if waiting else []
        served = [requests for requests in served if next(requests, _OVER) is not _OVER]
    for client, _, _ in begun:
        for one, other in zip_longest(client.events, alone):
            if one != other:
                kind = (one or other or {})["type"]
                yield f"beside others a client gets another {kind} than alone"
                return


def _session(data: Mapping[str, Any], *, detects: bool = True) -> dict[str, Any]:
    given: dict[str, Any] = {"format": {"type": data["format"]}}
    if data["format"] == "audio/pcm":
        given["format"]["rate"] = _RATE_HZ
    given["turn_detection"] = None
    if detects and not data["by_hand"]:
        given["turn_detection"] = {"type": "server_vad", "threshold": data["threshold"]}
        if data["idle_timeout_ms"]:
            given["turn_detection"]["idle_timeout_ms"] = data["idle_timeout_ms"]
    return {"type": "realtime", "audio": {"input": given}}


def _do(request: Request, client: Client, hands: "_ByHand", data: Mapping[str, Any]) -> None:
    match request["kind"]:
        case "append":
            samples = _RATE_HZ * request["length_ms"] // 1000
            hands.append(_LOUD * (samples // 2), odd=request["odd"])
        case "silence":
            hands.append(bytes(2 * _RATE_HZ * request["length_ms"] // 1000), odd=False)
        case "commit":
            hands.commit()
        case "clear":
            hands.clear()
        case "create":
            client.send("response.create")
        case "detection":
            client.send("session.update", session=_session(data, detects=request["on"]))
        case _:
            client.send("response.cancel")


class _ByHand:
    """What a client that ends its turns itself has put into each of them."""

    def __init__(self, client: Client, audio_format: AudioFormat) -> None:
        self._client = client
        self._format = audio_format
        self._buffer = b""
        self._commits: list[bytes] = []
        self._number = 0
        self.bytes_a_ms = 48 if audio_format.encoding == "pcm" else 8
        self.appended_ms = 0.0

    def append(self, pcm: bytes, *, odd: bool) -> None:
        """Audio that no other append has; in pieces of odd sizes, if so asked for."""
        self._number += 1
        mark = self._number % 100
        wire = self._format.encode(bytes((mark, 40)) + pcm[2:] if any(pcm) else pcm)
        self._buffer += wire
        self.appended_ms += len(wire) / self.bytes_a_ms
        cut = len(wire) // 3 | 1
        for piece in (wire[:cut], wire[cut:]) if odd else (wire,):
            self._client.send("input_audio_buffer.append", audio=piece)

    def commit(self) -> None:
        """A turn of all that has not been one; too little is refused, and stays."""
        if len(self._buffer) >= _MIN_COMMIT_MS * self.bytes_a_ms:
            self._commits.append(self._buffer)
            self._buffer = b""
        self._client.send("input_audio_buffer.commit")

    def clear(self) -> None:
        """What has not been a turn is forgotten."""
        self._buffer = b""
        self._client.send("input_audio_buffer.clear")

    def complaints(self) -> Iterator[str]:
        """Items that hold something else than what was committed."""
        items = [event["item_id"] for event in self._client.all("input_audio_buffer.committed")]
        if len(items) != len(self._commits):
            yield f"{len(items)} turns were committed, expected {len(self._commits)}"
            return
        for number, (item, wire) in enumerate(zip(items, self._commits, strict=True), start=1):
            self._client.send("conversation.item.retrieve", item_id=item)
            self._client.wait(10)
            found = self._client.all("conversation.item.retrieved")[-1]["item"]["content"][0]
            if found.get("audio") != wire:
                size = len(found.get("audio") or b"")
                yield f"turn {number} holds {size} bytes, and not the {len(wire)} that were said"


def _in_order(client: Client) -> Iterator[str]:
    """Ids come once, what begins ends, and of what has ended nothing more comes."""
    ids = Counter(event["event_id"] for event in client.events)
    if any(times > 1 for times in ids.values()):
        yield "an event id came twice"
    running: set[str] = set()
    over: set[str] = set()
    for event in client.events:
        kind = event["type"]
        response = str(event.get("response_id") or (event.get("response") or {}).get("id"))
        if kind == "response.created":
            running.add(response)
        elif kind == "response.done":
            if response not in running:
                yield "a response was done that had not begun"
            running.discard(response)
            over.add(response)
        elif kind.startswith(_OF_A_RESPONSE) and response in over:
            yield f"{kind} came after the end of its response"
            return
        if kind == "input_audio_buffer.timeout_triggered" and running:
            yield "the idle timeout struck while a response ran"
    if running:
        yield f"{len(running)} responses did not end"


def _in_pairs(client: Client) -> Iterator[str]:
    """What is added to a response is done, once, and before the response is."""
    added: dict[tuple[str, ...], str] = {}
    for event in client.events:
        part, _, what = event["type"].rpartition(".")
        if event["type"] == "response.done" and event["response"]["id"] in added.values():
            yield "a response was done before all that had been added to it"
            return
        if part in _PARTS:
            item = str(event.get("item_id") or event["item"]["id"])
            place = (part, item, str(event.get("content_index")))
            if what == "added":
                added[place] = event["response_id"]
            elif added.pop(place, None) != event["response_id"]:
                yield f"{event['type']} came of what had not been added"
                return


def _turns(client: Client, hands: _ByHand) -> Iterator[str]:
    """What the fake has heard by itself: each beginning has its end, and no turn is of another."""
    begun: str | None = None
    until_ms = waits_from_ms = 0.0
    detects = False
    for entry, appended_ms, cleared_ms in _on_the_audio_clock(client, hands.bytes_a_ms):
        kind, event = entry.type.removeprefix("input_audio_buffer."), entry.event
        if kind == "speech_started":
            begun = event["item_id"]
            if event["audio_start_ms"] < until_ms - 1:
                yield f"speech began at {event['audio_start_ms']} ms, in what was over by then"
        elif kind in ("speech_stopped", "committed", "cleared", "session.updated"):
            begun = None
            until_ms = max(until_ms, cleared_ms, event.get("audio_end_ms", 0.0))
        elif kind == "session.update":
            detects, detected = _detects(event), detects
            waits_from_ms = waits_from_ms if detected else appended_ms
        elif kind == "timeout_triggered":
            if event["audio_start_ms"] < waits_from_ms - _FRAME_MS:
                yield "the idle timeout counted what was silent while turns were left to nobody"
            until_ms = float(event["audio_end_ms"])
            if not event["audio_start_ms"] < until_ms <= appended_ms + _FRAME_MS:
                yield "the idle timeout struck at a time that has not been"
    if begun is not None:
        yield f"{begun} has begun, and not ended after {_ENDS_NO_TURN_MS} ms of silence"


def _detects(update: Mapping[str, Any]) -> bool:
    return bool(update["session"]["audio"]["input"]["turn_detection"])


def _on_the_audio_clock(client: Client, bytes_a_ms: int) -> Iterator[tuple[Entry, float, float]]:
    """What passed, how much had been appended by then, and how much before what was cleared."""
    appended_ms = cleared_ms = 0.0
    asked_ms: list[float] = []
    for entry in client.passed:
        if entry.type == "input_audio_buffer.append":
            appended_ms += len(entry.event["audio"]) / bytes_a_ms
        elif entry.type == "input_audio_buffer.clear":
            asked_ms.append(appended_ms)  # it is done in its turn: more may be appended by then
        elif entry.type == "input_audio_buffer.cleared":
            cleared_ms = asked_ms.pop(0)
        yield entry, appended_ms, cleared_ms


def _replayed(client: Client, data: Mapping[str, Any]) -> Iterator[str]:
    """What was recorded is played to the same client again, to a faster one, and to half of it.

    If it ends its turns itself, the same client gets what the recorded one got, and one that stops
    halfway no answer to what it has not asked. One that is faster cancels earlier, and gets nothing
    after the end.
    """
    if not client.all("response.created"):
        return
    cancels = any(request["kind"] == "cancel" for request in data["requests"])
    if data["by_hand"] and not cancels:  # which brings what was to come
        before, after = map(_landmarks, (client, _replay(client, data, data["requests"])))
        differ = [one for one, other in zip_longest(before, after) if one != other]
        if differ:
            yield f"replayed to the same client, another thing comes than {differ[0]}"
            return
        half = _replay(client, data, data["requests"][: len(data["requests"]) // 2])
        if _has_unasked(half):
            yield "in a replay a response came that was not asked for, or whose request was refused"
            return
    for wrong in _in_order(_replay(client, data, data["requests"], faster=2)):
        if "after the end" in wrong:
            yield f"in a replay {wrong}"


def _has_unasked(client: Client) -> bool:
    """Whether more responses came, at any time, than requests that were not refused."""
    waiting = 0
    for entry in client.passed:
        waiting += entry.type == "response.create"
        waiting -= entry.type == "response.created"
        waiting -= entry.type == "error" and part_of(entry.event, "error").get("code") == _ACTIVE
        if waiting < 0:
            return True
    return False


_ACTIVE = "conversation_already_has_active_response"
_SAME_IN_A_REPLAY = ("error", "response.created")
_APART_S = 0.1


def _landmarks(client: Client) -> list[tuple[str, int]]:
    """What came of its requests, and when, in tenths of a second."""
    return [
        (entry.type, round(entry.at_s / _APART_S))
        for entry in client.passed
        if entry.type in _SAME_IN_A_REPLAY
    ]


def _replay(
    client: Client, data: Mapping[str, Any], requests: Sequence[Request], *, faster: float = 1
) -> Client:
    recording = Recording(Header(model="gpt-realtime-2.1"), tuple(client.passed))
    replay = ReplaySession(recording, call="again")
    again = Client(replay, names_events=data["names_events"])
    again.feed(interface.ConnectionRequested())
    hands = _ByHand(again, AudioFormat("pcmu" if data["format"] == "audio/pcmu" else "pcm"))
    again.send("session.update", session=_session(data))
    for request in requests:
        _do(request, again, hands, data)
        again.wait(request["wait_ms"] / faster)
    if not data["by_hand"]:
        hands.append(bytes(2 * _RATE_HZ * _ENDS_NO_TURN_MS // 1000), odd=False)
    again.wait(_AT_THE_END_MS)
    return again
