"""What is true of every call in the words of whoever calls: answered once, never left in silence.

Each is judged by the trace of the agent's machine and by what the server told it, not by the marks
of the part that may be wrong.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from callerside.agent.call import events
from callerside.agent.call.events import EndRequested, Timer, TimerFired
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeConnected
from callerside.agent.telephony.interface import MediaReady
from callerside.clock import NS_PER_MS, NS_PER_S, ms_to_ns
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.answers_owed import (
    AUDIO_DELTAS,
    AnswersOwed,
    fired,
    is_told,
    purpose_of,
)
from callerside.simulator.lanes.virtual.audio_invariants import AUDIO
from callerside.simulator.lanes.virtual.invariants import (
    PROTOCOL_BREAKERS,
    SAFETY,
    Invariant,
    TracedCall,
    at_ms,
    is_of_briefing,
    server_event,
)
from callerside.simulator.lanes.virtual.playout_model import replay_playout
from callerside.simulator.lanes.virtual.record_invariants import records_are_true
from callerside.simulator.lanes.virtual.told_invariants import TOLD
from callerside.simulator.lanes.virtual.trace import Step
from callerside.simulator.scenario.steps import Say

_ENDS_NO_WAIT = frozenset({Timer.CALL_LIMIT, Timer.SESSION_MOVE_DUE})
"""Timers that may run for an hour."""
_UNLIMITED_NS = NS_PER_S
_TOLD_MARGIN_MS = 1_500
"""After `failure.hold_after_ms`: the opening may just have begun to say something else."""
_END_MARGIN_NS = NS_PER_S
_OVER_THE_CALLER_NS = 40 * NS_PER_MS
"""Two frames: one may be on its way when the caller begins to speak."""


def turns_are_answered_once(traced: TracedCall) -> Iterator[str]:
    """Whatever is asked of the model is owed to somebody: a turn, keys, a result, one greeting."""
    turns = traced.settings.turns
    asks = turns.policy == "local" or not turns.vad.create_response
    owed = AnswersOwed(traced.call.recorder.rate_hz, asks_for_turns=asks)
    for step in traced.turning_points:
        if not is_of_briefing(step) and owed.asked_for_nothing(step):
            yield f"an answer was asked for, and none was owed, at {at_ms(step.at_ns)}"


def nobody_is_left_unanswered(traced: TracedCall) -> Iterator[str]:
    """What the caller said, and the server could hear, leads to something that the caller hears.

    Where the call says otherwise, it is not looked at: its server swallows events or answers, its
    telephone loses sound or is on hold, its session ends while it hears the words.
    """
    if not _is_answering(traced):
        return
    heard_ns = [*_heard_ns(traced)]
    excused_ns = [mark.at_ns for mark in traced.call.agent_marks if mark.name in _EXCUSES]
    for begun_ns, until_ns in _utterances(traced):
        limit_ns = until_ns + _ANSWER_LIMIT_NS
        if any(begun_ns <= at_ns <= limit_ns for at_ns in [*heard_ns, *excused_ns]):
            continue
        acts = (m.at_ns for m in traced.call.caller_marks if _is_act(m) and m.at_ns > until_ns)
        over_ns = min(traced.trace[-1].at_ns, *acts, traced.call.ended_ns)
        if over_ns > limit_ns:
            yield f"nothing was heard of an answer to what was said until {at_ms(until_ns)}"


def _heard_ns(traced: TracedCall) -> Iterator[int]:
    """When something began that may be an answer: a greeting is none."""
    before = ""
    for mark in traced.call.agent_marks:
        greets = before == "greeting_started"
        if mark.name == "prompt_started" or (mark.name == "playout_started" and not greets):
            yield mark.at_ns
        before = mark.name


_ANSWER_LIMIT_NS = 9 * NS_PER_S
"""The watchdogs' times, a server that thinks for long, and a session that has to be made."""
_EXCUSES = frozenset(
    {"media_held", "realtime_failed", "realtime_closed", "hang_up_sent", "transfer_sent"}
    | {"call_ended", "capture_overflowed"}
)
_ACTS = frozenset({"utterance_started", "call_ended", "hang_up_sent"})
_WAITS = frozenset({"pause", "expect"})


def _is_act(mark: Mark) -> bool:
    """Whether the caller does something that an answer may have to wait for."""
    return mark.name in _ACTS or (mark.name == "step_started" and mark.fields["kind"] not in _WAITS)


def _is_answering(traced: TracedCall) -> bool:
    """Whether nothing in the scenario is there to keep answers or words from anybody."""
    scenario, settings = traced.scenario, traced.settings
    plain = all(reply.model_fields_set == {"say"} for reply in scenario.realtime.replies)
    return (
        plain
        and traced.faults <= _FAULTS_OF_CONNECTIONS
        and scenario.network is None
        and scenario.realtime.commits == "server"
        and settings.turns.vad.create_response
    )


_FAULTS_OF_CONNECTIONS = frozenset({"refuse", "accept_late"})


def _utterances(traced: TracedCall) -> Iterator[tuple[int, int]]:
    """When the caller said words: from and until."""
    begun_ns: int | None = None
    words = {str(step.say) for step in traced.scenario.steps if isinstance(step, Say)}
    for mark in traced.call.caller_marks:
        if mark.name == "utterance_started":
            begun_ns = mark.at_ns if mark.fields["text"] in words else None
        elif mark.name == "utterance_ended" and begun_ns is not None:
            yield begun_ns, mark.at_ns


def nobody_is_talked_over(traced: TracedCall) -> Iterator[str]:
    """What the agent asked for is not said over a caller who speaks already, if it may be stopped.

    Where the server begins an answer of its own, it has heard the caller's end.
    """
    if not traced.settings.turns.barge_in or traced.faults & PROTOCOL_BREAKERS:
        return
    model = replay_playout(traced)
    since_ns: int | None = None
    begun: set[str] = set()
    for step in traced.turning_points:
        if is_told(step, "speech_started"):
            since_ns = step.at_ns
        if is_told(step, "speech_stopped") or _ends_all_speech(step):
            since_ns = None
        for effect in step.effects:
            if not isinstance(effect, events.Play):
                continue
            item = model.items_of_tags.get(effect.tag, "")
            is_new, protected = item not in begun, item in model.protected | model.last_words
            begun.add(item)
            late = since_ns is not None and step.at_ns > since_ns + _OVER_THE_CALLER_NS
            if item in model.asked_for and is_new and late and not protected:
                yield f"{item} began while the caller spoke, at {at_ms(step.at_ns)}"


def _ends_all_speech(step: Step) -> bool:
    """Whether whoever would tell the end of what is said is gone, or has been waited for enough."""
    gone = isinstance(step.given, RealtimeConnected | RealtimeClosed)
    return gone or fired(step, Timer.SPEECH_LIMIT)


def protected_words_are_heard(traced: TracedCall) -> Iterator[str]:
    """What may not be interrupted is heard to its end, as long as there is a call."""
    for cleared_ns, item in replay_playout(traced).protected_cleared:
        what = item or "the greeting from the cache"
        yield f"{what} was dropped at {at_ms(cleared_ns)}, and may not be interrupted"


def stored_greetings_are_greetings(traced: TracedCall) -> Iterator[str]:
    """What every later caller will hear was made as a greeting, and is all that came of it."""
    purposes: dict[str, object] = {}
    received: dict[str, bytearray] = {}
    for step in traced.turning_points:
        event = server_event(step)
        kind = event.get("type")
        if kind == "response.created":
            purposes[event["response"]["id"]] = purpose_of(event["response"])
        for effect in step.effects:
            if not isinstance(effect, events.StorePrompt):
                continue
            response = event.get("response", {}).get("id")
            if purposes.get(response) != "greeting":
                yield f"a response that was no greeting was cached, at {at_ms(step.at_ns)}"
            received = received or _audio_by_response(traced)
            if received.get(response, b"") != effect.pcm:
                yield f"a greeting was cached that is not what came, at {at_ms(step.at_ns)}"


def _audio_by_response(traced: TracedCall) -> dict[str, bytearray]:
    received: dict[str, bytearray] = {}
    for step in traced.trace:
        event = server_event(step)
        if event.get("type") in AUDIO_DELTAS:
            pcm = traced.api_format.decode(event["delta"])
            received.setdefault(event["response_id"], bytearray()).extend(pcm)
    return received


def every_wait_has_a_limit(traced: TracedCall) -> Iterator[str]:
    """While there is nothing left to be heard, something will end the silence: a timer runs.

    One of the caller's whole call counts for none: nobody waits for an hour.
    """
    watchdogs = traced.settings.turns.watchdogs
    limits = (traced.settings.limits.silence_ms, watchdogs.commit_ms, watchdogs.response_ms)
    if not all(limits) or not watchdogs.response_end_ms:
        return
    idle = replay_playout(traced).idle
    for since_ns, until_ns in _unlimited(traced):
        for begun_ns, ended_ns in idle:
            if min(until_ns, ended_ns) - max(since_ns, begun_ns) > _UNLIMITED_NS:
                yield f"from {at_ms(max(since_ns, begun_ns))} on nothing limits the silence"
                return


def _unlimited(traced: TracedCall) -> Iterator[tuple[int, int]]:
    """From when to when no timer ran that would end a wait."""
    timers: set[Timer] = set()
    since_ns: int | None = None
    for step in traced.turning_points:
        if isinstance(step.given, TimerFired):
            timers.discard(step.given.timer)
        for effect in step.effects:
            if isinstance(effect, events.SetTimer):
                timers.add(effect.timer)
            elif isinstance(effect, events.CancelTimer):
                timers.discard(effect.timer)
        over = any(isinstance(effect, events.Finish) for effect in step.effects)
        limited = over or bool(timers - _ENDS_NO_WAIT)
        if limited and since_ns is not None:
            yield since_ns, step.at_ns
        if over:
            return
        since_ns = None if limited else since_ns or step.at_ns
    if since_ns is not None:
        yield since_ns, traced.trace[-1].at_ns


def who_waits_is_told(traced: TracedCall) -> Iterator[str]:
    """Who has no session, and hears nothing, is told before long, once if it is cut short."""
    settings = traced.settings
    limit_ns = ms_to_ns(settings.failure.hold_after_ms + _TOLD_MARGIN_MS)
    model = replay_playout(traced)
    media_ns = next((s.at_ns for s in traced.trace if isinstance(s.given, MediaReady)), None)
    if media_ns is None:
        return
    opened_ns = media_ns + ms_to_ns(settings.greeting.delay_ms)
    cleared_ns = [mark.at_ns for mark in traced.agent("playout_cleared")]
    told_ns = [mark.at_ns for mark in traced.agent("prompt_started")]
    for lost_ns, found_ns in _without_session(traced):
        since_ns = max(lost_ns, opened_ns)
        silent = [(a, b) for a, b in model.idle if a <= since_ns < b or since_ns <= a < found_ns]
        for begun_ns, ended_ns in silent[:1]:
            from_ns = max(begun_ns, since_ns)
            if any(abs(begun_ns - at_ns) < NS_PER_MS for at_ns in cleared_ns):
                continue
            if any(since_ns <= at_ns <= begun_ns for at_ns in told_ns):
                continue
            if min(ended_ns, found_ns) - from_ns > limit_ns:
                yield f"nobody told the caller who waited for a session from {at_ms(from_ns)} on"


def _without_session(traced: TracedCall) -> Iterator[tuple[int, int]]:
    """From when to when there was no session, and the call was not about to end."""
    since_ns: int | None = traced.trace[0].at_ns if traced.trace else None
    for step in traced.turning_points:
        if server_event(step).get("type") == "session.updated" and since_ns is not None:
            yield since_ns, step.at_ns
            since_ns = None
        gone = isinstance(step.given, RealtimeClosed)
        for effect in step.effects:
            gone |= isinstance(effect, events.CloseRealtime)
            if isinstance(effect, events.HangUp | events.Transfer | events.Finish):
                if since_ns is not None:
                    yield since_ns, step.at_ns
                return
        if gone and since_ns is None:
            since_ns = step.at_ns


def who_is_let_go_is_told(traced: TracedCall) -> Iterator[str]:
    """A call that the agent ends by a limit of the caller's is not ended without a last word.

    What was being said as the limit came is one, and may take longer than last words may.
    """
    limit_ns: int | None = None
    heard = speaking = False
    for mark in traced.call.agent_marks:
        if mark.name == "watchdog_fired" and mark.fields["what"] in ("silence", "call"):
            limit_ns, heard = limit_ns or mark.at_ns, speaking if limit_ns is None else heard
        elif mark.name in ("playout_started", "prompt_started"):
            heard = speaking = True
        elif mark.name in ("playout_ended", "playout_cleared", "prompt_ended"):
            speaking = False
        elif mark.name == "hang_up_sent" and limit_ns is not None and not heard:
            yield f"hung up at {at_ms(mark.at_ns)} without a word since {at_ms(limit_ns)}"
        elif mark.name in ("media_held", "playout_overflowed", "transfer_sent"):
            return  # on hold nothing is heard; and who is transferred is not let go
        elif mark.name in ("speech_started", "dtmf_received") and limit_ns is not None:
            return  # the caller would not hear it


def ends_when_asked(traced: TracedCall) -> Iterator[str]:
    """A call that is to end, as its process drains, ends at once or when its last word was heard.

    Whoever hears nothing any more is not kept for longer than a last word may take.
    """
    given = [(step.at_ns, step.given) for step in traced.trace]
    asked = [(at_ns, one) for at_ns, one in given if isinstance(one, EndRequested)]
    if not asked:
        return
    asked_ns, request = asked[0]
    leaves = (s.at_ns for s in traced.turning_points if any(map(_is_leaving, s.effects)))
    left_ns = next(leaves, traced.trace[-1].at_ns)
    if request.at_once:
        if left_ns > asked_ns:
            yield f"to end at once at {at_ms(asked_ns)}, and ended at {at_ms(left_ns)}"
        return
    limit_ns = ms_to_ns(traced.settings.limits.farewell_ms) + _END_MARGIN_NS
    for begun_ns, ended_ns in replay_playout(traced).idle:
        if min(ended_ns, left_ns) - max(begun_ns, asked_ns) > limit_ns:
            yield f"to end since {at_ms(asked_ns)}, and silent from {at_ms(begun_ns)} on"
            return


def _is_leaving(effect: events.Effect) -> bool:
    return isinstance(effect, events.HangUp | events.Transfer | events.Finish)


def nothing_is_played_twice(traced: TracedCall) -> Iterator[str]:
    """The caller hears what the model sent, in its order, and none of it twice."""
    if traced.faults & PROTOCOL_BREAKERS:
        return
    for played_ns, item in replay_playout(traced).out_of_order:
        yield f"audio of {item} was queued again, or in another order, at {at_ms(played_ns)}"


def sessions_end_for_a_reason(traced: TracedCall) -> Iterator[str]:
    """A session that works is closed when the call ends, at its age, or when it is of no use."""
    ready = False
    for before, step in pairwise([traced.trace[0], *traced.turning_points] if traced.trace else []):
        kind = server_event(step).get("type")
        ready = (ready or kind == "session.updated") and not isinstance(step.given, RealtimeClosed)
        closes = any(isinstance(effect, events.CloseRealtime) for effect in step.effects)
        if not closes:
            continue
        if ready and kind == "error" and before.at_ns:
            yield f"a session that worked was closed for an error, at {at_ms(step.at_ns)}"
        ready = False


_IN_THE_CALLERS_WORDS: Mapping[str, Invariant] = {
    "turns_are_answered_once": turns_are_answered_once,
    "nobody_is_left_unanswered": nobody_is_left_unanswered,
    "nobody_is_talked_over": nobody_is_talked_over,
    "protected_words_are_heard": protected_words_are_heard,
    "stored_greetings_are_greetings": stored_greetings_are_greetings,
    "every_wait_has_a_limit": every_wait_has_a_limit,
    "who_waits_is_told": who_waits_is_told,
    "who_is_let_go_is_told": who_is_let_go_is_told,
    "ends_when_asked": ends_when_asked,
    "records_are_true": records_are_true,
    "nothing_is_played_twice": nothing_is_played_twice,
    "sessions_end_for_a_reason": sessions_end_for_a_reason,
}
ALL: Mapping[str, Invariant] = {**SAFETY, **AUDIO, **TOLD, **_IN_THE_CALLERS_WORDS}
"""Every invariant of safety."""
