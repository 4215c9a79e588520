"""What in a scenario cannot work, contradicts itself, or has no effect: reported before a call."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from callerside.agent.config.settings import CallSettings
from callerside.audio import BYTES_PER_SAMPLE, duration_ms
from callerside.audio_files import NO_FILE, AudioFileError
from callerside.durations import format_duration
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare as prepare_script
from callerside.fakes.script.reply import FunctionCall as ScriptedCall
from callerside.fakes.script.reply import Reply
from callerside.files import is_there
from callerside.simulator.caller.audio import recordings
from callerside.simulator.caller.audio.utterances import background, phrase
from callerside.simulator.runner.functions import doubtful_calls
from callerside.simulator.runner.heard_as_one import heard_as_one
from callerside.simulator.scenario.expectations import FunctionCall, Silence, Transcript, fits
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.network import Direction
from callerside.simulator.scenario.steps import (
    Expect,
    Hold,
    MakeSound,
    Pause,
    Phrase,
    Resume,
    Say,
    Step,
    Voiced,
)
from callerside.speech.voices import VoiceError
from callerside.vad.energy import EnergyJudge
from callerside.vad.turn_detector import FRAME_MS
from callerside.yaml.errors import nearest

Where = tuple[str | int, ...]

_WITHIN_A_SENTENCE_MS = 3_000
"""Who is silent for longer means to be: nobody takes it for a pause in what is said."""


_VOICED = 0.5
"""Of a frame, as turn detection has it by default."""
_STILL_FRAMES = 48
"""It hears them before: it was silent."""


def without_effect(scenario: Scenario) -> Iterator[str]:
    """One line for everything that does nothing, each with file, line and column."""
    yield from _limits_of_no_wait(scenario)
    yield from _longer_than_the_call(scenario)
    yield from _nothing_to_forbid(scenario)
    yield from _network_of_nothing(scenario)
    yield from _of_the_run(scenario)
    yield from _held_by_nobody(scenario)


def placed(scenario: Scenario) -> Iterator[tuple[Where, Step]]:
    """Each step, with its place in the file."""
    for track, steps in (("steps", scenario.steps), ("meanwhile", scenario.meanwhile)):
        for number, step in enumerate(steps):
            yield (track, number), step


def lines(script: Script) -> list[tuple[Where, Reply]]:
    """All that the server may say, with its place in the file."""
    return [
        (("realtime", "greeting"), script.greeting),
        *((("realtime", "replies", n), reply) for n, reply in enumerate(script.replies)),
        (("realtime", "default_reply"), script.default_reply),
    ]


def _limits_of_no_wait(scenario: Scenario) -> Iterator[str]:
    """A `within` where nothing is waited for, and which would have no effect."""
    for where, step in placed(scenario):
        if step.within is not None and step.when is None and not isinstance(step, Expect):
            place = scenario.at(*where, "within")
            yield f"{place}: within limits a wait: it belongs to expect, or beside when"


def _pauses_that_end_a_turn(scenario: Scenario) -> Iterator[str]:
    """A pause between two sentences of the caller's: what is said before it is a turn of its own.

    What follows then interrupts the answer. The turn detection in force is the server's, or the
    agent's own; how long a `semantic_vad` waits, nobody knows. It hears the quiet ends of what is
    said on either side as part of the pause.
    """
    turns = _settings(scenario).turns
    if turns.policy != "local" and turns.vad.type != "server_vad":
        return
    silence_ms = _silence_ms(scenario)
    silence = format_duration(silence_ms)
    for track, steps in (("steps", scenario.steps), ("meanwhile", scenario.meanwhile)):
        for quiet in _quiet_in_speech(scenario, steps):
            if not silence_ms <= quiet.all_ms or quiet.pause_ms > _WITHIN_A_SENTENCE_MS:
                continue
            place = scenario.at(track, quiet.number, quiet.key)
            around = ", with the quiet ends of what is said around it,"
            yield (
                f"{place}: a pause of {format_duration(quiet.pause_ms)}"
                f"{'' if quiet.pause_ms > silence_ms else around} ends the caller's turn "
                f"(after {silence} of silence): what is said next is another one; put an "
                "expect between them, or make the pause shorter"
            )


@dataclass(frozen=True, slots=True)
class _Quiet:
    """What is quiet between two things that the caller says."""

    pause_ms: float
    all_ms: float
    """With the quiet ends of what sounds before and behind it."""
    number: int
    """Of the step that is the pause, or the first of several."""
    key: str = "pause"


def _quiet_in_speech(scenario: Scenario, steps: Sequence[Step]) -> Iterator[_Quiet]:
    """Between two `say`, the longest: sounds may part it."""
    said: Step | None = None
    before: Step | None = None
    pause_ms, first, turn = 0.0, 0, 0
    found: list[_Quiet] = []
    for number, step in enumerate(steps):
        if isinstance(step, Pause) and step.when is None:
            first, pause_ms = (first, pause_ms + step.pause) if pause_ms else (number, step.pause)
            continue
        waits_ms = _silence_before_an_answer_ms(scenario, step, turn)
        turn += isinstance(step, Say)
        goes_on = step.when is None or waits_ms is not None
        if before is not None and goes_on and isinstance(step, MakeSound | Say):
            if waits_ms is not None:
                ends_ms = _quiet_ends_ms(scenario, step)[0]
                found.append(_Quiet(waits_ms, waits_ms + ends_ms, number, "when"))
            elif pause_ms:
                ends_ms = _quiet_ends_ms(scenario, before)[1] + _quiet_ends_ms(scenario, step)[0]
                found.append(_Quiet(pause_ms, pause_ms + ends_ms, first))
            if isinstance(step, Say) and said and found:
                yield max(found, key=lambda one: one.all_ms)
        pause_ms = 0.0
        if isinstance(step, Say):
            said = before = step
            found = []
        elif isinstance(step, MakeSound) and goes_on and said:
            before = step
        else:
            said = before = None
            found = []


def _silence_before_an_answer_ms(scenario: Scenario, step: Step, turn: int) -> float | None:
    """How much silence a `say` waits for that comes before the answer to what was said last."""
    if not isinstance(step, Say) or step.when is None or step.when.event is not None:
        return None
    reply = _reply(scenario, turn)
    think_ms = scenario.realtime.timing.think_ms if reply.think_ms is None else reply.think_ms
    waits_ms = step.when.offset_ms
    return waits_ms if reply.calls or waits_ms <= _silence_ms(scenario) + think_ms else None


def _quiet_ends_ms(scenario: Scenario, step: Step) -> tuple[float, float]:
    """How long what a step says begins and ends too softly for a turn detection."""
    pcm = phrase(scenario, step, _RATE_HZ) or b""
    frame_bytes = FRAME_MS * _RATE_HZ // 1000 * BYTES_PER_SAMPLE
    judge = EnergyJudge()
    judge.probabilities(bytes(frame_bytes * _STILL_FRAMES), frame_bytes)
    whole = pcm[: len(pcm) // frame_bytes * frame_bytes]
    voiced = [one >= _VOICED for one in judge.probabilities(whole, frame_bytes)] if whole else []
    if True not in voiced:
        return 0.0, 0.0
    return FRAME_MS * voiced.index(True), FRAME_MS * voiced[::-1].index(True)


def _longer_than_the_call(scenario: Scenario) -> Iterator[str]:
    """A `within` that cannot end before the call does."""
    limit = format_duration(scenario.time_limit)
    for where, step in placed(scenario):
        if step.within is not None and step.within > scenario.time_limit:
            place, within = scenario.at(*where, "within"), format_duration(step.within)
            yield f"{place}: {within} never pass: the call is ended after {limit} (time_limit)"


def _never_scripted(scenario: Scenario) -> Iterator[str]:
    """Functions and words that are expected and that no reply of the script has."""
    for where, step in placed(scenario):
        if isinstance(step, Expect) and (why := _unscripted(scenario, step.expect)):
            yield f"{scenario.at(*where, 'expect')}: {why}"


def _nothing_to_forbid(scenario: Scenario) -> Iterator[str]:
    """What cannot happen in this call; a suite or a matrix speaks of other calls, too."""
    if scenario.is_one_of_many:
        return
    limit_ms = scenario.time_limit
    for number, one in enumerate(scenario.never):
        place = scenario.at("never", number)
        if not place.startswith(f"{scenario.path}:"):
            continue
        if why := _unscripted(scenario, one):
            yield f"{place}: there is nothing to forbid: {why}"
        if isinstance(one, Silence) and one.silence >= limit_ms:
            limit = format_duration(limit_ms)
            yield f"{place}: {one} cannot be: the call is ended after {limit} (time_limit)"


def _unscripted(scenario: Scenario, expected: object) -> str:
    """Why nothing in the script makes the model call that, or say it; empty if something does."""
    replies = [reply for _, reply in lines(scenario.realtime)]
    items = [item for reply in replies for item in reply.parts]
    if any(item.recording for item in items):
        return ""  # its turn may have it
    calls = [item.function_call for item in items if item.function_call]
    if isinstance(expected, FunctionCall):
        return _uncalled(expected, calls)
    if isinstance(expected, Transcript):
        texts = [(one.transcript or one.say or one.text or "").lower() for one in items]
        if not any(expected.transcript.lower() in text for text in texts):
            return f'no reply of realtime says "{expected.transcript}"'
    return ""


def _uncalled(wanted: FunctionCall, calls: Sequence[ScriptedCall]) -> str:
    name = wanted.function_call
    given = [call.arguments for call in calls if call.name == name]
    if not given:
        near = nearest(name, [call.name for call in calls])
        return f'no reply of realtime calls the function "{name}"{near}'
    if not any(fits(wanted.arguments, arguments) for arguments in given):
        named = " or ".join(map(str, given))
        return f"no reply of realtime calls {name} with {wanted.arguments}, but with {named}"
    return ""


def _network_of_nothing(scenario: Scenario) -> Iterator[str]:
    """Lengths of bursts that there are not, and what both directions say otherwise."""
    network = scenario.network
    if network is None:
        return
    directions: list[tuple[Where, Direction | None]] = [
        (("network",), network),
        (("network", "to_agent"), network.to_agent),
        (("network", "to_caller"), network.to_caller),
    ]
    for where, one in directions:
        if one and one.model_fields_set & {"burst_loss", "burst_packets"} == {"burst_packets"}:
            place = scenario.at(*where, "burst_packets")
            yield f"{place}: burst_packets is the length of bursts: it needs burst_loss"
        for name, times in one.intervals.items() if one else ():
            for number, (start_ms, _) in enumerate(times):
                if start_ms >= scenario.time_limit:
                    limit = format_duration(scenario.time_limit)
                    place = scenario.at(*where, name, number)
                    yield f"{place}: never comes: the call is ended after {limit} (time_limit)"
    if network.to_agent and network.to_caller:
        for name in sorted(network.model_fields_set & Direction.model_fields.keys()):
            place = scenario.at("network", name)
            yield f"{place}: {name} is for neither direction: to_agent and to_caller go before it"


def _of_the_run(scenario: Scenario) -> Iterator[str]:
    """Settings of the agent that a run makes itself: where its server is, and its timelines."""
    for section, key in (("realtime", "url"), ("timeline", "dir")):
        if key in scenario.agent.get(section, {}):
            place = scenario.at("agent", section, key)
            yield f"{place}: agent.{section}.{key} is for the run to set; leave it out"


def _held_by_nobody(scenario: Scenario) -> Iterator[str]:
    """What a scenario would be judged by, if it were not for its `judged_by`."""
    if scenario.judged_by == "invariants":
        for key, has_some in (("never", scenario.never), ("budget", scenario.own_limits)):
            if has_some:
                place = scenario.at(key)
                yield f"{place}: {key} fails no call that is judged_by: invariants; leave one out"


_RATE_HZ = 16_000


def problems(scenario: Scenario) -> list[str]:
    """One line for everything that cannot work, each with file, line and column."""
    if named := list(unspeakable(scenario)):
        return named
    return [
        *_absent(scenario),
        *_contradictory(scenario),
        *_impatient(scenario),
        *_replies_to_nothing(scenario),
        *_done_on_hold(scenario),
        *_faults_that_never_strike(scenario),
        *_too_long(scenario),
        *without_effect(scenario),
    ]


def unspeakable(scenario: Scenario) -> Iterator[str]:
    """One line for everything that neither caller nor server can say, with its place."""
    noise = partial(background, scenario, _RATE_HZ)
    where_noise = _of_file(("caller", "noise"), scenario.caller.noise)
    yield from _tried(scenario, where_noise, "there is no such noise", noise)
    for where, step in placed(scenario):
        speak = partial(phrase, scenario, step, _RATE_HZ)
        where_said = _of_file((*where, "say"), step.audible)
        yield from _tried(scenario, where_said, "the caller cannot say this", speak)
    for where, reply in lines(scenario.realtime):
        alone = Script(greeting=reply, default_reply=reply)
        answer = partial(prepare_script, alone, scenario.folder)
        where_answer = _of_file(where, reply)
        yield from _tried(scenario, where_answer, "the server cannot say this", answer)


def warnings(scenario: Scenario) -> Iterator[str]:
    """One line for all that can be played, and is perhaps not as it was meant, with its place."""
    for where, step in placed(scenario):
        if isinstance(step.audible, Phrase) and step.audible.wav is not None:
            for line in recordings.warnings(scenario.folder / step.audible.wav):
                yield f"{scenario.at(*_of_file((*where, 'say'), step.audible))}: {line}"
    yield from _never_scripted(scenario)
    yield from doubtful_calls(scenario, lines(scenario.realtime))
    yield from _pauses_that_end_a_turn(scenario)
    yield from _replies_that_were_waited_for(scenario)
    yield from heard_as_one(scenario)


def _of_file(where: Where, sound: object) -> Where:
    """Where a sound's file is named, if it has one: a matrix may name another for each call."""
    return where if getattr(sound, "wav", None) is None else (*where, "wav")


def _tried(
    scenario: Scenario, where: Where, what: str, make: Callable[[], object]
) -> Iterator[str]:
    try:
        make()
    except AudioFileError as error:
        near = _files_like(str(error)) if str(error).endswith(NO_FILE) else ""
        yield f"{scenario.at(*where)}: {what}: {error}{near}"
    except VoiceError as error:
        yield f"{scenario.at(*where)}: {what}: {error}"


def _files_like(complaint: str) -> str:
    """`; did you mean "..."?` for a file that is not there, and one of nearly that name that is."""
    path = Path(complaint.partition(": ")[0])
    if is_there(path) or not is_there(path.parent):
        return ""
    names = {other.name for other in path.parent.glob(f"*{path.suffix}")}
    return nearest(path.name, names - {path.name})  # a link that leads nowhere is there, too


def _absent(scenario: Scenario) -> Iterator[str]:
    """What is waited for although the agent is not to do it."""
    settings = _settings(scenario)
    switches = {"greeting": settings.greeting.enabled, "beep": settings.beep.enabled}
    for where, step in placed(scenario):
        awaited = str(step.expect) if isinstance(step, Expect) else ""
        event = step.when.event if step.when else None
        for what, enabled in switches.items():
            if not enabled and (awaited.split(" ")[0] == what or event == what):
                yield f"{scenario.at(*where)}: there is no {what}: agent.{what}.enabled is false"


def _contradictory(scenario: Scenario) -> Iterator[str]:
    """What is expected and forbidden, in the same words."""
    for where, step in placed(scenario):
        if not isinstance(step, Expect) or isinstance(step.expect, Silence):
            continue  # the silence that is expected is the agent's alone, the other is dead air
        number = next(
            (n for n, one in enumerate(scenario.never) if _are_one(one, step.expect)), None
        )
        if number is not None:
            place = scenario.at("never", number)
            line = scenario.at(*where).split(":")[-2]
            yield f"{place}: {step.target} must never happen, and is expected in line {line}"


def _are_one(forbidden: object, expected: object) -> bool:
    """Whether what is expected has what is forbidden in it: a reply, also its start."""
    words = [str(one).removesuffix(" start") for one in (forbidden, expected)]
    return forbidden == expected or (isinstance(forbidden, str) and words[0] == words[1])


def _replies_to_nothing(scenario: Scenario) -> Iterator[str]:
    """Replies that are waited for although the caller has said nothing until then."""
    if _may_speak_unasked(scenario) or not scenario.greets:
        return
    for number, step in enumerate(scenario.steps):
        awaited = isinstance(step, Expect) and step.expect in ("reply", "reply start")
        if awaited or (step.when is not None and step.when.event == "reply"):
            key = "expect" if awaited else "when"
            yield (
                f"{scenario.at('steps', number, key)}: there is no reply yet: "
                "the caller has said nothing before"
            )
            return
        if step.may_take_turn:
            return


def _replies_that_were_waited_for(scenario: Scenario) -> Iterator[str]:
    """A moment of a reply behind an `expect` of it: the next reply's, to which nothing leads."""
    goes_on = any(reply.calls or reply.asks_for_more for _, reply in lines(scenario.realtime))
    if goes_on or _may_speak_unasked(scenario):
        return
    waited_for = False
    for number, step in enumerate(scenario.steps):
        if waited_for and step.when is not None and step.when.event == "reply":
            yield (
                f"{scenario.at('steps', number, 'when')}: behind `expect: reply` this is the next "
                "reply, and the caller has said nothing that it answers: leave the expect out"
            )
            return
        is_reply = isinstance(step, Expect) and step.expect == "reply"
        waited_for = not step.may_take_turn and (waited_for or is_reply)


def _done_on_hold(scenario: Scenario) -> Iterator[str]:
    """What nobody hears, as the call is on hold then."""
    if any(isinstance(step, (Hold, Resume)) for step in scenario.meanwhile):
        return
    held = False
    for number, step in enumerate(scenario.steps):
        place = scenario.at("steps", number)
        awaited = step.expect if isinstance(step, Expect) else None
        if isinstance(step, Voiced) and held:
            yield f"{place}: could not {step.what()}: the call is on hold; resume goes before"
        elif held and isinstance(awaited, str) and awaited.split(" ")[0] in ("greeting", "reply"):
            yield f"{place}: {awaited} is not heard: the call is on hold; resume goes before"
        elif isinstance(step, (Hold, Resume)) and held == isinstance(step, Hold):
            yield f"{place}: the call is {'on hold already' if held else 'not on hold'}"
        held = isinstance(step, Hold) or (held and not isinstance(step, Resume))


def _impatient(scenario: Scenario) -> Iterator[str]:
    """Waits that end before what they wait for can begin."""
    turn = 0
    previous: Step | None = None
    for number, step in enumerate(scenario.steps):
        turn += isinstance(step, Say)
        if isinstance(step, Expect) and step.within is not None:
            needed_ms, why = _needed_ms(scenario, step, turn, previous)
            if needed_ms > step.within:
                yield (
                    f"{scenario.at('steps', number, 'within')}: {format_duration(step.within)} "
                    f"cannot be met: {why} takes {format_duration(needed_ms)}"
                )
        previous = step


def _needed_ms(
    scenario: Scenario, step: Expect, turn: int, previous: Step | None
) -> tuple[float, str]:
    """The least time that what is expected takes to come, and why."""
    settings, script = _settings(scenario), scenario.realtime
    if isinstance(step.expect, Silence):
        return step.expect.silence, "the silence itself"
    if step.expect in ("greeting", "greeting start") and previous is None:
        return settings.greeting.delay_ms, "the greeting's own delay"
    if step.expect in ("reply", "reply start") and isinstance(previous, Say):
        think_ms = _reply(scenario, turn).think_ms
        think_ms = script.timing.think_ms if think_ms is None else think_ms
        silence_ms = _silence_ms(scenario)
        why = f"{format_duration(silence_ms)} of silence after the turn and the think time"
        return think_ms + silence_ms, why
    return 0.0, ""


def _reply(scenario: Scenario, turn: int) -> Reply:
    replies = scenario.realtime.replies
    return replies[turn - 1] if 0 < turn <= len(replies) else scenario.realtime.default_reply


def _silence_ms(scenario: Scenario) -> float:
    turns, vad = _settings(scenario).turns, scenario.realtime.vad
    if turns.policy == "local":
        return turns.local_vad.silence_duration_ms
    if turns.vad.type == "semantic_vad":
        return 0.0
    own = vad.silence_duration_ms
    return own if own is not None else turns.vad.silence_duration_ms


def _faults_that_never_strike(scenario: Scenario) -> Iterator[str]:
    turns = sum(step.may_take_turn for step in scenario.all_steps)
    if _server_takes_turns(scenario):
        return
    for number, fault in enumerate(scenario.realtime.faults):
        point = fault.point
        if point.place == "greeting" and not scenario.greets:
            yield (
                f"{scenario.at('realtime', 'faults', number)}: {fault.at} never comes: "
                "agent.greeting.enabled is false"
            )
        most = _most_replies(scenario, turns) if point.place == "reply" else turns
        if point.place in ("speech", "turn", "reply") and point.number > most:
            yield (
                f"{scenario.at('realtime', 'faults', number)}: {fault.at} never comes: "
                f"the caller takes {turns} turn{'' if turns == 1 else 's'}"
            )


def _most_replies(scenario: Scenario, turns: int) -> float:
    """How many may be given: one more behind each function call, and behind each failure."""
    script = scenario.realtime
    if script.default_reply.calls:
        return math.inf
    calls = sum(1 for reply in script.replies if reply.calls or reply.asks_for_more)
    others = len(script.faults) - 1
    return turns + calls + others * _settings(scenario).failure.retries


def _may_speak_unasked(scenario: Scenario) -> bool:
    """Whether the agent may say something that answers no step of the main track."""
    by_itself = {"limits", "failure"} & scenario.agent.keys() or scenario.realtime.faults
    meanwhile = any(step.may_take_turn for step in scenario.meanwhile)
    return bool(by_itself) or meanwhile or _server_takes_turns(scenario)


def _server_takes_turns(scenario: Scenario) -> bool:
    """Whether the server may speak without being spoken to."""
    return _settings(scenario).turns.vad.idle_timeout_ms is not None


def _too_long(scenario: Scenario) -> Iterator[str]:
    lengths_ms = [_step_ms(scenario, step) for step in scenario.steps]
    least_ms = sum(lengths_ms)
    if least_ms > scenario.time_limit:
        where: Where = ("steps", lengths_ms.index(max(lengths_ms)))
        if "time_limit" in scenario.model_fields_set:
            where = ("time_limit",)
        yield (
            f"{scenario.at(*where)}: the caller's own steps take "
            f"{format_duration(least_ms)}, longer than the time limit of "
            f"{format_duration(scenario.time_limit)}"
        )


def _step_ms(scenario: Scenario, step: Step) -> float:
    audible_ms = duration_ms(phrase(scenario, step, _RATE_HZ) or b"", _RATE_HZ)
    return audible_ms + step.least_ms + (step.when.offset_ms if step.when else 0.0)


def _settings(scenario: Scenario) -> CallSettings:
    return CallSettings.model_validate(scenario.agent)


def all_problems(scenarios: Sequence[Scenario]) -> list[str]:
    """Those of many scenarios; of cells of one matrix that share a problem, it is reported once."""
    return list(dict.fromkeys(line for scenario in scenarios for line in problems(scenario)))
