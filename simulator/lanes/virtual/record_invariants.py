"""What a call's record says, held against what caller, server and telephone have seen of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from callerside.agent.call import events
from callerside.agent.call.builtin_tools import BUILT_IN
from callerside.agent.call.events import Timer, TimerFired
from callerside.agent.observe.call_records import CallRecords
from callerside.agent.telephony.interface import (
    CallReceived,
    DtmfReceived,
    FramePlayed,
    HungUp,
    MediaReady,
    RtpMeasured,
)
from callerside.clock import ms_to_ns, ns_to_ms
from callerside.simulator.lanes.virtual.answers_owed import AUDIO_DELTAS, emitted, is_told
from callerside.simulator.lanes.virtual.invariants import (
    TracedCall,
    is_of_briefing,
    server_event,
)
from callerside.simulator.lanes.virtual.leg import DIGIT_MS, LineOptions
from callerside.simulator.lanes.virtual.playout_model import replay_playout
from callerside.simulator.lanes.virtual.stops import Stops
from callerside.simulator.lanes.virtual.trace import Step

_RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)
_MARKED = {
    "underruns": "playout_underrun",
    "realtime_failures": "realtime_failed",
    "watchdogs": "watchdog_fired",
    "events_dropped": "event_dropped",
}
"""What nobody but the agent can tell how often it was: its marks must be as many."""


def records_are_true(traced: TracedCall) -> Iterator[str]:
    """A call has one record, and all that it says is so."""
    written: list[dict[str, Any]] = []
    sink = CallRecords(written.append, now=lambda: _RECEIVED_AT)
    for mark in traced.call.agent_marks:
        sink(mark)
    if not traced.trace:
        return
    if len(written) != 1 or written[0]["ended"] is None:
        yield f"{len(written)} records of one call"
        return
    (record,) = written
    true = {**_of_the_telephone(traced), **_by_the_caller(traced)}
    true |= {**_Counts(traced).told(), **_marked(traced)}
    for name, value in true.items():
        if record[name] != value:
            yield f"the record says {name} {record[name]}, and it was {value}"
    yield from _wrong_turns(traced, record)


def _of_the_telephone(traced: TracedCall) -> dict[str, Any]:
    """What the call's own leg, and its frames, say."""
    given = [(step.at_ns, step.given) for step in traced.turning_points]
    received_ns, received = next(one for one in given if isinstance(one[1], CallReceived))
    ended_ns, ended = next((one for one in given if isinstance(one[1], HungUp)), given[-1])
    length_ms = ns_to_ms(ended_ns - received_ns)
    model = replay_playout(traced)
    greeted_ns = min((model.begun[tag] for tag in model.greetings & model.begun.keys()), default=0)
    told: dict[str, Any] = {
        "sip_call_id": getattr(received, "sip_call_id", None),
        "codec": next((one.codec for _, one in given if isinstance(one, MediaReady)), None),
        "rtp": next((_rtp(one) for _, one in given if isinstance(one, RtpMeasured)), None),
        "received_at": _iso(_RECEIVED_AT),
        "ended_at": _iso(_RECEIVED_AT + timedelta(milliseconds=length_ms)),
        "length_ms": round(length_ms, 1),
        "greeting_ms": round(ns_to_ms(greeted_ns - received_ns), 1) if greeted_ns else None,
    }
    if isinstance(ended, HungUp):
        told["ended"] = {"by": ended.by, "status": ended.status, "reason": ended.reason}
    return told


def _rtp(measured: RtpMeasured) -> dict[str, Any]:
    return {
        "received_packets": measured.received_packets,
        "lost_packets": measured.lost_packets,
        "jitter_ms": measured.jitter_ms,
    }


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def _by_the_caller(traced: TracedCall) -> dict[str, Any]:
    """What the caller knows: whom it called, as whom, and when that was answered."""
    marks = traced.call.caller_marks
    dialed = next(mark for mark in marks if mark.name == "call_dialed")
    number = str(dialed.fields["uri"]).removeprefix("sip:").partition("@")[0]
    told: dict[str, Any] = {
        "call": number,
        "called": number,
        "caller": traced.scenario.caller.user,
        "digits_received": len(keys_pressed(traced)),
    }
    answered = next((mark for mark in marks if mark.name == "call_answered"), None)
    if answered is not None:  # there and back
        both_ways_ms = 2 * LineOptions().signalling_ms
        took_ms = ns_to_ms(answered.at_ns - dialed.at_ns) - both_ways_ms
        told["answered_ms"] = round(took_ms, 1)
    return told


class _Counts:
    """How often something was, by what telephone and server have told, up to the hanging up."""

    def __init__(self, traced: TracedCall) -> None:
        self._tools = traced.settings.tools
        self._stops = Stops(traced.settings)
        self._errors = 0
        self._tokens = {"input": 0, "output": 0}
        self._done: set[str] = set()
        self._called: set[str] = set()
        self._cut_ns: set[int] = set()
        self._fillers: set[int] = set()
        """Tags of what only fills a silence."""
        for step in traced.turning_points:
            self._take(step)
            if is_end(step):
                break  # what else comes then is nothing of the call any more

    def told(self) -> dict[str, Any]:
        """The fields of the record that count."""
        return {
            "realtime_errors": self._errors,
            "barge_ins": len(self._cut_ns),
            "tools_called": len(self._called),
            "tokens": self._tokens,
        }

    def _take(self, step: Step) -> None:
        event = server_event(step)
        self._errors += event.get("type") == "error"
        if event.get("type") == "response.done" and not is_of_briefing(step):
            self._take_end(event["response"])
        self._stops.begin(step)
        if event.get("type") == "response.output_item.done" and self._tools.at_once:
            may_lose = self._stops.may_lose(event["response_id"])
            calls = [] if may_lose else whole_calls([event["item"]])
            self._called |= {str(one["call_id"]) for one in calls if one["name"] not in BUILT_IN}
        self._stops.end(step)
        if isinstance(step.given, TimerFired) and step.given.timer is Timer.TOOL_WAIT_DUE:
            self._fillers |= {one.tag for one in step.effects if isinstance(one, events.Play)}
        if (
            is_told(step, "speech_started")
            or isinstance(step.given, DtmfReceived)
            or (
                event.get("type") == "response.created"  # which is said over somebody
            )
        ):
            cleared = [one.tags for one in step.effects if isinstance(one, events.ClearPlayout)]
            if frozenset[int]().union(*cleared) - self._fillers:
                self._cut_ns.add(step.at_ns)

    def _take_end(self, response: Mapping[str, Any]) -> None:
        name = str(response["id"])
        if name in self._done:
            return
        self._done.add(name)
        usage = response.get("usage") or {}
        for direction in self._tokens:
            self._tokens[direction] += usage.get(f"{direction}_tokens") or 0
        if self._stops.runs(name) and response["status"] in ("completed", "incomplete"):
            calls = whole_calls(response.get("output") or ())
            self._called |= {str(one["call_id"]) for one in calls}


def is_end(step: Step) -> bool:
    """Whether the agent hangs up, or the call is over."""
    return any(isinstance(effect, events.HangUp | events.Finish) for effect in step.effects)


def over_ns(traced: TracedCall) -> int:
    """When that is."""
    return next((s.at_ns for s in traced.turning_points if is_end(s)), traced.trace[-1].at_ns)


def keys_pressed(traced: TracedCall) -> list[tuple[int, str]]:
    """When each key arrives that the caller presses in a call that is up, and which it is.

    Of a key and an end at the same instant either may be the first.
    """
    until_ns = over_ns(traced)
    to_its_end = takewhile(lambda step: not is_end(step), traced.turning_points)
    came = (step.at_ns for step in to_its_end if isinstance(step.given, DtmfReceived))
    until_ns += until_ns in came
    way_ns = ms_to_ns(LineOptions().signalling_ms)
    keys: list[tuple[int, str]] = []
    is_up = False
    for mark in traced.call.caller_marks:
        is_up = is_up or mark.name == "call_answered"
        if mark.name == "dtmf_sent" and mark.fields["method"] != "inband" and is_up:
            begun_ns = mark.at_ns + way_ns
            digits = enumerate(mark.fields["digits"])
            keys += [(begun_ns + ms_to_ns(place * DIGIT_MS), digit) for place, digit in digits]
    return [key for key in keys if key[0] < until_ns]


def whole_calls(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The function calls among a response's items that were not cut short."""
    whole = (None, "completed")
    calls = (one for one in items if one["type"] == "function_call")
    return [one for one in calls if one.get("status") in whole]


def _marked(traced: TracedCall) -> dict[str, Any]:
    marks = [mark.name for mark in traced.call.agent_marks]
    return {name: marks.count(mark) for name, mark in _MARKED.items()}


@dataclass(kw_only=True, slots=True)
class _Turn:
    """When each of its hops was over."""

    stopped_ns: int
    over_ns: dict[str, int] = field(default_factory=dict)
    item: str = ""
    """Of the answer."""

    def told(self) -> dict[str, float | None]:
        """As the record has it."""
        heard_ns = self.over_ns.get("playout_ms")
        told: dict[str, float | None] = {"turn_ms": _since(self.stopped_ns, heard_ns)}
        before_ns = self.stopped_ns
        for hop, over_ns in self.over_ns.items():
            told[hop] = _since(before_ns, over_ns)
            before_ns = over_ns
        return told


def _since(begun_ns: int, ended_ns: int | None) -> float | None:
    return None if ended_ns is None else round(ns_to_ms(ended_ns - begun_ns), 1)


class _Turns:
    """Each end of the caller's speech that was told, and what came of it, up to the next."""

    def __init__(self, traced: TracedCall) -> None:
        self._items = replay_playout(traced).items_of_tags
        self._stops = Stops(traced.settings)
        self._sounding: set[str] = set()
        """Responses of which audio has come."""
        self._heard: set[str] = set()
        """Items that have begun to leave."""
        self._turn: _Turn | None = None
        self.over: list[_Turn] = []
        for step in traced.without_appends:
            self._take(step)
        self._end()

    def _take(self, step: Step) -> None:
        if isinstance(step.given, FramePlayed):
            for tag, samples in step.given.played:
                if samples:
                    self._note_heard(self._items[tag], step.given.at_ns)
        for _ in range(turns_ended(step)):
            self._end()
            self._turn = _Turn(stopped_ns=step.at_ns)
        event = server_event(step)
        is_new = self._stops.is_news(step)
        self._stops.begin(step)
        self._note(event, step.at_ns, is_new=is_new)
        self._stops.end(step)

    def _note(self, event: Mapping[str, Any], at_ns: int, *, is_new: bool) -> None:
        kind, turn = event.get("type"), self._turn
        if kind in AUDIO_DELTAS and not self._stops.may_lose(event["response_id"]):
            is_first = event["response_id"] not in self._sounding
            self._sounding.add(event["response_id"])
            if is_first and turn and "response_ms" in turn.over_ns and not turn.item:
                turn.over_ns["first_delta_ms"], turn.item = at_ns, event["item_id"]
        elif turn is None or "response_ms" in turn.over_ns:
            pass
        elif kind == "input_audio_buffer.committed":
            turn.over_ns.setdefault("commit_ms", at_ns)
        elif is_new:
            turn.over_ns["response_ms"] = at_ns

    def _note_heard(self, item: str, at_ns: int) -> None:
        if not item or item in self._heard:
            return
        self._heard.add(item)
        if self._turn and item == self._turn.item:
            self._turn.over_ns["playout_ms"] = at_ns
            self._end()

    def _end(self) -> None:
        if self._turn is not None:
            self.over.append(self._turn)
        self._turn = None


def turns_ended(step: Step) -> int:
    """How many ends of the caller's speech a step tells: by the server, or by our own ear."""
    by_the_server = server_event(step).get("type") == "input_audio_buffer.speech_stopped"
    return int(by_the_server) or emitted(step, "speech_stopped")


def _wrong_turns(traced: TracedCall, record: Mapping[str, Any]) -> Iterator[str]:
    true = [turn.told() for turn in _Turns(traced).over]
    if len(record["turns"]) != len(true) or record["turns_not_listed"]:
        yield f"the record has {len(record['turns'])} turns, and there were {len(true)}"
    for number, (told, turn) in enumerate(zip(record["turns"], true, strict=False), start=1):
        if told != turn:
            yield f"the record says of turn {number} {told}, and it was {turn}"
