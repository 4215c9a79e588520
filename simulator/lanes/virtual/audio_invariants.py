"""What is true of the audio of every call: counted anew from the trace, and found at the ear."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from callerside.agent.call import events
from callerside.agent.call.events import PromptLoaded
from callerside.agent.call.states import State
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeEvent
from callerside.agent.telephony.interface import AudioReceived, MediaReady
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat, to_bytes, to_samples
from callerside.clock import NS_PER_MS, NS_PER_S, ns_to_ms
from callerside.simulator.lanes.virtual.invariants import Invariant, TracedCall
from callerside.simulator.lanes.virtual.playout_model import replay_playout

_LINE_LIMIT_MS = 300
"""What may still be heard after a clear: the jitter buffer's 200 ms and two frames, and margin."""
_CLEAR_LIMIT_NS = 40 * NS_PER_MS
"""Two frames."""
_BEEP_HZ_OFF = 0.05
"""Of its pitch: a short one has few waves to count."""
_BEEP_DB_OFF = 3.0
"""Of its peak, which may lie between two samples; of one that is shorter than `_FADED_MS`, and
fades out before it is whole, nothing is known."""
_FADED_MS = 20
_SNIPPET_MS = 15
_SNIPPET_LEVEL = 300
"""A snippet to look for must not be silence: silence is everywhere."""


def truncations_are_true(traced: TracedCall) -> Iterator[str]:
    """`audio_end_ms` is what the caller was sent of the item, and no more than had arrived."""
    for truncation in replay_playout(traced).truncations:
        where = f"truncated to {truncation.audio_end_ms} ms at {_ms(truncation.at_ns)}"
        if truncation.audio_end_ms > truncation.received_ms:
            yield f"{where}, but only {truncation.received_ms:.1f} ms had arrived"
        if not truncation.played_ms - 1 <= truncation.audio_end_ms <= truncation.played_ms:
            yield f"{where}, but {truncation.played_ms:.1f} ms had been played"


def interrupted_audio_stops(traced: TracedCall) -> Iterator[str]:
    """Once the caller is known to speak, an item that was playing leaves no more."""
    for at_ns, item in replay_playout(traced).overstayed:
        yield f"audio of {item} left at {_ms(at_ns)}, although the caller had interrupted it"


def playout_stays_bounded(traced: TracedCall) -> Iterator[str]:
    """No more is handed over than may wait to be played: the leg would have to drop it."""
    for at_ns, waiting_ms in replay_playout(traced).overfilled:
        yield f"{waiting_ms:.0f} ms waited to be played at {_ms(at_ns)}"


def truncated_audio_is_not_heard(traced: TracedCall) -> Iterator[str]:
    """What was cut from an item never reaches the caller's ear."""
    call = traced.call
    started_ns = call.recorder.started_at_ns
    model = replay_playout(traced)
    if started_ns is None or not model.truncations:
        return
    _, ear = call.recorder.channels()
    rate_hz = call.recorder.rate_hz
    codec = traced.scenario.caller.codec
    line_ns = _LINE_LIMIT_MS * NS_PER_MS + round(_network_ms(traced) * NS_PER_MS)
    for truncation in model.truncations:
        heard_later = ear[2 * ((truncation.at_ns + line_ns - started_ns) * rate_hz // NS_PER_S) :]
        unheard = model.received[truncation.item][2 * (truncation.audio_end_ms * rate_hz // 1000) :]
        # The same words may be said again, with every right, in another item.
        others = [bytes(audio) for item, audio in model.received.items() if item != truncation.item]
        for snippet in _snippets(bytes(unheard), rate_hz):
            said_again = any(snippet in other for other in others)
            if not said_again and _as_heard(snippet, codec) in heard_later:
                at = _ms(truncation.at_ns)
                yield f"audio of {truncation.item} was heard after it was cut at {at}"
                break


def nothing_appended_is_lost(traced: TracedCall) -> Iterator[str]:
    """All of the caller's audio goes to the API in order, but for what a mark calls dropped."""
    heard = bytearray()
    appended_until = 0
    dropped = 0
    api = traced.api_format
    for step in traced.trace:
        if isinstance(step.given, AudioReceived):
            heard += step.given.pcm
        for effect in step.effects:
            if isinstance(effect, events.EmitMark) and effect.name == "capture_overflowed":
                dropped += round(effect.fields["dropped_ms"] * traced.call.recorder.rate_hz / 500)
            elif isinstance(effect, events.AppendAudio):
                begin = appended_until + dropped
                end = begin + len(api.decode(effect.audio))
                dropped = 0
                if api.encode(bytes(heard[begin:end])) != effect.audio:
                    yield f"an append at {_ms(step.at_ns)} is not what came after the one before"
                    return
                appended_until = end


_OF_SESSIONS = (events.ConnectRealtime, events.CloseRealtime)


def appends_reach_a_session(traced: TracedCall) -> Iterator[str]:
    """What is appended before the session is ready, or after its end, nobody hears."""
    ready = False
    for step in traced.trace:
        if isinstance(step.given, RealtimeEvent):
            ready |= step.given.event.get("type") == "session.updated"
        elif isinstance(step.given, RealtimeClosed):
            ready = False
        for effect in step.effects:
            if isinstance(effect, _OF_SESSIONS):
                ready = False
            elif isinstance(effect, events.AppendAudio) and not ready:
                yield f"an append at {_ms(step.at_ns)}, when no session was ready"


def nothing_said_is_lost(traced: TracedCall) -> Iterator[str]:
    """All that comes of a response is heard, but for a reason.

    The caller or a limit has stopped it, it was over, its session or the call was, or there was no
    room for it, and a mark says so.
    """
    model = replay_playout(traced)
    for lost_ns, what in model.lost:
        yield f"{what}, at {_ms(lost_ns)}"
    per_ms = traced.call.recorder.rate_hz / 1000
    told = sum(mark.fields["dropped_ms"] for mark in traced.agent("playout_overflowed")) * per_ms
    if model.overflowed_samples > told + 1:
        yield f"{model.overflowed_samples} samples found no room, and marks tell of {told:.0f}"


def what_left_is_heard(traced: TracedCall) -> Iterator[str]:
    """Where the network loses nothing, all that leaves for the caller reaches its ear, in order.

    But for what was on its way when one of them was not there any more, or not yet, or the caller
    had put the other on hold.
    """
    started_ns = traced.call.recorder.started_at_ns
    if traced.scenario.network is not None or started_ns is None:
        return
    _, ear = traced.call.recorder.channels()
    rate_hz, codec = traced.call.recorder.rate_hz, traced.scenario.caller.codec
    ended_ns = started_ns + len(ear) // BYTES_PER_SAMPLE * NS_PER_S // rate_hz
    held_ns = [*_held(traced, ended_ns)]
    place = 0
    for left_ns, pcm in replay_playout(traced).left:
        if not started_ns < left_ns < ended_ns - _LINE_LIMIT_MS * NS_PER_MS:
            continue
        if any(begun_ns < left_ns < over_ns for begun_ns, over_ns in held_ns):
            continue
        heard = _as_heard(pcm, codec)
        found = place if ear.startswith(heard, place) else ear.find(heard, place)
        if found >= 0:
            place = found + len(heard)
        elif any(heard):
            yield f"what left at {_ms(left_ns)} was not heard, or too late"


def _held(traced: TracedCall, ended_ns: int) -> Iterator[tuple[int, int]]:
    """From when to when the caller has the agent on hold, and what is on its way then."""
    begun_ns: int | None = None
    for mark in traced.call.caller_marks:
        kind = mark.fields.get("kind") if mark.name == "step_started" else None
        if kind == "hold":
            begun_ns = mark.at_ns - _CLEAR_LIMIT_NS
        elif kind == "resume" and begun_ns is not None:
            yield begun_ns, mark.at_ns + _LINE_LIMIT_MS * NS_PER_MS
            begun_ns = None
    if begun_ns is not None:
        yield begun_ns, ended_ns


def callers_are_beeped_at(traced: TracedCall) -> Iterator[str]:
    """Whoever can hear us hears the beep of the settings first, and once: as it is set."""
    beep, rate_hz = traced.settings.beep, traced.call.recorder.rate_hz
    if not beep.enabled or not beep.length_ms:
        return
    begun = next((step for step in traced.trace if isinstance(step.given, MediaReady)), None)
    if begun is None:
        return
    first = next((one for one in begun.effects if isinstance(one, events.Play)), None)
    if first is None:
        yield f"no beep was to be heard from {_ms(begun.at_ns)} on"
        return
    samples = to_samples(first.pcm)
    length_ms = len(samples) * 1000 / rate_hz
    crossings = np.count_nonzero(np.diff(np.signbit(samples)))
    hz = crossings * 500 / max(length_ms, 1)
    is_as_set = abs(length_ms - beep.length_ms) < 1 and abs(hz - beep.hz) < _BEEP_HZ_OFF * beep.hz
    peak_dbfs = 20 * math.log10(max(1, int(np.abs(samples.astype(np.int32)).max())) / 32768)
    is_whole = beep.length_ms >= _FADED_MS
    if not is_as_set or (is_whole and abs(peak_dbfs - beep.level_dbfs) > _BEEP_DB_OFF):
        yield (
            f"what came first is {length_ms:.0f} ms, {hz:.0f} Hz and {peak_dbfs:.0f} dBFS: "
            f"the beep is set to {beep.length_ms:g} ms, {beep.hz:g} Hz and {beep.level_dbfs:g} dBFS"
        )
    played = (one for step in traced.turning_points for one in step.effects)
    count = sum(isinstance(one, events.Play) and one.pcm == first.pcm for one in played)
    if count > 1:
        yield f"the beep was played {count} times"


def greetings_are_whole_or_marked(traced: TracedCall) -> Iterator[str]:
    """A greeting is heard to its end, or a mark says that it was not."""
    if any(traced.agent("playout_overflowed")):
        return
    begun_ns = _greeting_without_end(traced)
    if begun_ns is not None:
        yield f"the greeting that began at {_ms(begun_ns)} has no end"
    ended = list(traced.agent("greeting_ended"))
    if "reorder" in traced.faults:
        # The server may say that it is over before the last of it: then it goes on, and ends again.
        ended = ended[-1:]
    lengths_ms = _greeting_lengths_ms(traced)
    for mark in ended:
        if not mark.fields["interrupted"]:
            played_ms = float(mark.fields["played_ms"])
            if not any(abs(played_ms - length_ms) < 1 for length_ms in lengths_ms):
                known = ", ".join(f"{length_ms:.0f}" for length_ms in lengths_ms)
                yield f"a greeting of {played_ms:.0f} ms was called whole; there are {known} ms"


def only_whole_greetings_are_kept(traced: TracedCall) -> Iterator[str]:
    """What is cached was completed by the server: half a prompt would greet every later caller."""
    for step in traced.turning_points:
        for effect in step.effects:
            if not isinstance(effect, events.StorePrompt):
                continue
            event = step.given.event if isinstance(step.given, RealtimeEvent) else {}
            status = event.get("response", {}).get("status")
            if status != "completed":
                yield f"a prompt was cached at {_ms(step.at_ns)}, its response being {status}"


AUDIO: Mapping[str, Invariant] = {
    "truncations_are_true": truncations_are_true,
    "interrupted_audio_stops": interrupted_audio_stops,
    "playout_stays_bounded": playout_stays_bounded,
    "truncated_audio_is_not_heard": truncated_audio_is_not_heard,
    "nothing_appended_is_lost": nothing_appended_is_lost,
    "appends_reach_a_session": appends_reach_a_session,
    "nothing_said_is_lost": nothing_said_is_lost,
    "what_left_is_heard": what_left_is_heard,
    "callers_are_beeped_at": callers_are_beeped_at,
    "greetings_are_whole_or_marked": greetings_are_whole_or_marked,
    "only_whole_greetings_are_kept": only_whole_greetings_are_kept,
}


def _greeting_without_end(traced: TracedCall) -> int | None:
    """When a greeting began that was still on, by the marks, after the call had gone on to listen.

    The leg's answer to a clear, which ends it, may come a moment later than that.
    """
    begun_ns = listening_ns = None
    for mark in traced.call.agent_marks:
        if listening_ns is not None and mark.at_ns > listening_ns + _CLEAR_LIMIT_NS:
            return begun_ns
        if mark.name == "greeting_started":
            begun_ns = mark.at_ns
        elif mark.name in ("greeting_ended", "call_ended"):
            begun_ns = listening_ns = None
        elif begun_ns is not None and mark.fields.get("to") == State.LISTENING:
            listening_ns = mark.at_ns
    return begun_ns


def _greeting_lengths_ms(traced: TracedCall) -> list[float]:
    """Of the greeting from the cache, and of the items that were generated for it."""
    rate = traced.call.recorder.rate_hz * 2 / 1000
    received = replay_playout(traced).received
    generated = [len(received[item]) / rate for item in _generated_greetings(traced)]
    loaded = [
        len(step.given.pcm) / rate
        for step in traced.trace
        if isinstance(step.given, PromptLoaded) and step.given.pcm
    ]
    return generated + loaded


def _generated_greetings(traced: TracedCall) -> Iterator[str]:
    marks = traced.call.agent_marks
    for greeting, item in pairwise(marks):
        if greeting.name == "greeting_started" and item.name == "playout_started":
            yield str(item.fields["item"])


def _network_ms(traced: TracedCall) -> float:
    network = traced.scenario.network
    if network is None:
        return 0.0
    _, to_caller = network.directions()
    held_ms = max((end - begin for begin, end in to_caller.stalled), default=0.0)
    return to_caller.delay + to_caller.jitter + held_ms


def _as_heard(pcm: bytes, codec: str) -> bytes:
    """PCM as the codec leaves it."""
    if codec not in ("PCMU", "PCMA"):
        return pcm
    g711 = AudioFormat("pcmu" if codec == "PCMU" else "pcma")
    return g711.decode(g711.encode(pcm))


def _snippets(pcm: bytes, rate_hz: int) -> Iterator[bytes]:
    """Some short pieces that are not silent, spread over `pcm`."""
    length = rate_hz * _SNIPPET_MS // 1000
    samples = to_samples(pcm)
    starts = range(length, len(samples) - length, max(length, len(samples) // 10))
    for start in starts:
        piece = samples[start : start + length]
        if abs(piece.astype(int)).mean() > _SNIPPET_LEVEL:
            yield to_bytes(piece)


def _ms(at_ns: int) -> str:
    return f"{ns_to_ms(at_ns - NS_PER_S):.1f} ms"
