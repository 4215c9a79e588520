"""Hundreds of calls whose numbers are known by construction, by what is unusual about them.

`KINDS` has, for every kind, named makers of calls. Nothing is made before it is asked for.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
from made_call import (
    ANSWERED_MS,
    END,
    RATE_HZ,
    RINGING_MS,
    SERVER_HZ,
    MadeCall,
    Make,
    Truth,
    Wave,
    at_rate,
    factor,
    noise,
    pieces,
    steady,
    tone,
    ulaw,
    voice,
)

from callerside.reports.hearing.active_level import active_level_dbfs

KINDS: dict[str, dict[str, Make]] = defaultdict(dict)

MS = SERVER_HZ // 1000


@cache
def texts() -> dict[str, Wave]:
    """What is said, at the server's rate."""
    return {
        "q1": voice("When do you open on Saturday?", "en-us"),
        "q2": voice("And is there anywhere that I could leave my car?", "en-us"),
        "q3": voice("I mean the new shop.", "en-us"),
        "greeting": voice("Good morning, this is the shop on the corner. How can I help you?"),
        "a1": voice("On Saturday we open at nine in the morning, and we close at five o'clock."),
        "a2": voice("Yes, there are many places right behind the building, and they cost nothing."),
        "a3": voice(
            "You can leave it in the yard for as long as you are here, and there is a second place "
            "for visitors across the road, next to the old town hall."
        ),
    }


def _cases(
    kind: str, name: str, values: Iterable[Any]
) -> Callable[[Callable[[Any], MadeCall]], Callable[[Any], MadeCall]]:
    def register(make: Callable[[Any], MadeCall]) -> Callable[[Any], MadeCall]:
        for value in values:
            shown = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
            KINDS[kind][f"{name} {shown}"] = partial(make, value)
        return make

    return register


Dress = Callable[[MadeCall], None]


def usual(
    *,
    beep: Wave | None = None,
    has_beep: bool = True,
    beep_length_ms: float | None = 400,
    beep_hz: float | None = 440,
    greeting_ms: float = 1000,
    heard: Wave | None = None,
    heard_greeting: Wave | None = None,
    a1: Wave | None = None,
    q1: Wave | None = None,
    dress: Callable[[MadeCall, tuple[float, float, float]], None] | None = None,
    own_ms: float = 900,
    down_ms: float = 30,
    lead_ms: float = 0,
    faults: tuple[float, float, float] | None = (0, 0, 0),
    rate_hz: int = RATE_HZ,
    uplink_ms: float = 5,
) -> MadeCall:
    """Beep, greeting, two questions and their answers; what was heard of the first may differ."""
    call = MadeCall(rate_hz=rate_hz)
    call.uplink_ms = uplink_ms
    text = texts()
    call.set_up((tone(440, 400, rate_hz=rate_hz) if beep is None else beep) if has_beep else None)
    if has_beep:
        call.expect("beep_ms", 150 - ANSWERED_MS)
        if beep_hz is not None:
            call.expect("beep_hz", beep_hz)
        if beep_length_ms is not None:
            call.expect("beep_length_ms", beep_length_ms)
    call.respond(
        greeting_ms - 40, greeting_ms, text["greeting"], greeting=True, heard=heard_greeting
    )
    call.expect("greeting_ms", greeting_ms - ANSWERED_MS)
    greeted_ms = greeting_ms + text["greeting"].size / MS
    way = partial(call.turn, own_ms=own_ms, down_ms=down_ms, lead_ms=lead_ms)
    first_ms, over_ms = way(
        greeted_ms + 700,
        text["q1"] if q1 is None else q1,
        text["a1"] if a1 is None else a1,
        heard=heard,
    )
    second_ms, end_ms = way(over_ms + 800, text["q2"], text["a2"])
    if faults is not None:
        for metric, value in zip(("gap_ms", "missing_ms", "repeated_ms"), faults, strict=True):
            call.expect(metric, value, 1)
            call.expect(metric, 0, 2)
    for metric in ("onset_clipped_ms", "tail_clipped_ms"):
        call.expect(metric, 0, 2)
    call.expect("ringing_ms", RINGING_MS)
    call.expect("false_stops", 0)
    call.expect("talk_over_ms", 0)
    call.expect("append_interval_ms", 20)
    if dress is not None:
        dress(call, (first_ms, second_ms, end_ms))
    call.hang_up(end_ms + 1500)
    return call


def on_the_line(make: Dress) -> Callable[[MadeCall, tuple[float, float, float]], None]:
    """What is done to the ear's channel, wherever the answers are."""
    return lambda call, _: make(call)


def _line(name: str) -> Dress:
    """What a line does to the ear's channel: a word, and how much."""
    word, _, value = name.partition(" ")
    return partial(_LINES[word], value=float(value or 0))


def _hum(call: MadeCall, value: float) -> None:
    call.ear += tone(50, call.length_ms, value, call.rate_hz)


def _dc(call: MadeCall, value: float) -> None:
    call.ear += value


def _noisy(call: MadeCall, value: float) -> None:
    call.ear += noise(call.ear.size, value)


def _clip(call: MadeCall, value: float) -> None:
    call.ear = np.clip(call.ear * 6, -0.5 - value, 0.5 + value)


def _coded(call: MadeCall, value: float) -> None:
    call.ear = ulaw(call.ear) * factor(value)


def _invert(call: MadeCall, value: float) -> None:
    call.ear = -call.ear * factor(value)


def _gain(call: MadeCall, value: float) -> None:
    call.ear *= factor(value)


def _musical(call: MadeCall, value: float) -> None:
    first = call.place(700)
    call.ear[first:] += _music(call.ear.size, value)[first:]


def _echo(call: MadeCall, value: float) -> None:
    late = call.rate_hz // 10
    call.ear[late:] += call.mouth[:-late] * factor(value)


def _comfort(call: MadeCall, value: float) -> None:
    loud = np.convolve(np.abs(call.ear), np.ones(1600) / 1600, "same")
    call.ear += noise(call.ear.size, value) * (loud < 1e-4)


_LINES: dict[str, Callable[..., None]] = {
    "hum": _hum,
    "dc": _dc,
    "noise": _noisy,
    "clip": _clip,
    "ulaw": _coded,
    "invert": _invert,
    "gain": _gain,
    "music": _musical,
    "echo": _echo,
    "comfort": _comfort,
}


@cache
def _music_of(count: int) -> Wave:
    rng, wave, t = np.random.default_rng(5), np.zeros(count), np.arange(count) / RATE_HZ
    for first in range(0, count, 6400):
        part = slice(first, first + 6400)
        fade = np.exp(-np.arange(t[part].size) / 4800)
        for hz in rng.choice([220, 262, 330, 392, 494, 587], 3, replace=False):
            wave[part] += np.sin(2 * np.pi * hz * t[part]) * fade
    return np.asarray(wave / np.sqrt(np.mean(wave**2)))


def _music(count: int, dbfs: float) -> Wave:
    return factor(dbfs) * _music_of(count)


# --- what is as it should be


@_cases("clean", "rate", [8000, 16_000, 24_000, 48_000])
def _(rate_hz: int) -> MadeCall:
    return usual(rate_hz=rate_hz)


@_cases("clean", "way", [17, 30, 43, 77.5, 300])
def _(down_ms: float) -> MadeCall:
    return usual(down_ms=down_ms)


@_cases("clean", "lead", [40, 113, 250, 700])
def _(lead_ms: float) -> MadeCall:
    return usual(lead_ms=lead_ms)


@_cases("clean", "own", [200, 900, 2900])
def _(own_ms: float) -> MadeCall:
    return usual(own_ms=own_ms)


@_cases("clean", "pause in the question", [200, 450, 900])
def _(pause_ms: int) -> MadeCall:
    text = texts()
    return usual(q1=np.concatenate([text["q1"], np.zeros(MS * pause_ms), text["q3"]]))


@_cases("clean", "pause in the answer", [300, 600, 900])
def _(pause_ms: int) -> MadeCall:
    return usual(a1=np.concatenate([steady(1500), np.zeros(MS * pause_ms), steady(2000, 9)]))


@_cases("clean", "short answer", [120, 250, 390, 450])
def _(length_ms: int) -> MadeCall:
    return usual(a1=steady(6000)[: MS * length_ms])


@_cases("clean", "word", ["Yes.", "No.", "Nine.", "Okay."])
def _(word: str) -> MadeCall:
    return usual(a1=voice(word))


@_cases("clean", "beep of", [110, 200, 385, 413])
def _(length_ms: int) -> MadeCall:
    return usual(beep=tone(440, length_ms), beep_length_ms=length_ms)


@_cases(
    "way up", "ms, and of the question's last frame", [*product((0.6, 5, 19, 45, 80), (1, 9, 18))]
)
def _(value: tuple[float, int]) -> MadeCall:
    uplink_ms, longer_ms = value
    question = np.concatenate([steady(2000, 6), steady(longer_ms, 7)])
    return usual(q1=question, uplink_ms=uplink_ms)


@_cases("clean", "two turns a second", [(300, 100), (150, 60)])
def _(waits: tuple[int, int]) -> MadeCall:
    call, text = MadeCall(20), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    at_ms = 1000 + text["greeting"].size / MS + 700
    for number in (1, 2):
        end_ms = call.say(at_ms, text["q1"][MS * 100 : MS * 350])
        delta_ms = end_ms + waits[1]
        answer = text["a1"][: MS * 200]
        call.respond(delta_ms, delta_ms + 20, answer, playout_ms=delta_ms + 5)
        call.expect("turn_ms", delta_ms + 20 - call.left_ms(end_ms), number)
        at_ms = delta_ms + 270
    call.hang_up(at_ms + 1500)
    return call


# --- faults of an answer


def on_a_line(line: str, **more: Any) -> MadeCall:
    """The usual call on a line; one that clips makes something else of the beep."""
    call = usual(beep_hz=None, beep_length_ms=None, dress=on_the_line(_line(line)), **more)
    if line == "clip":
        call.truths = [one for one in call.truths if not one.metric.startswith("beep")]
    return call


def faulty(
    heard: Wave, gap_ms: float = 0, missing_ms: float = 0, repeated_ms: float = 0, **more: Any
) -> MadeCall:
    """The usual call, whose first answer is heard so."""
    return usual(heard=heard, faults=(gap_ms, missing_ms, repeated_ms), **more)


def _hole(wave: Wave, at_ms: float, length_ms: float) -> Wave:
    return pieces(wave, (0, at_ms), length_ms, (at_ms, END))


def _muted(wave: Wave, at_ms: float, length_ms: float) -> Wave:
    return pieces(wave, (0, at_ms), length_ms, (at_ms + length_ms, END))


def _left_out(wave: Wave, at_ms: float, length_ms: float) -> Wave:
    return pieces(wave, (0, at_ms), (at_ms + length_ms, END))


def _twice(wave: Wave, at_ms: float, length_ms: float) -> Wave:
    return pieces(wave, (0, at_ms), (at_ms - length_ms, END))


_OPENING = (40, 100, 200, 333)
_LATER = (700, 1240, 1900, 2222, 2900)


def _a1() -> Wave:
    return at_rate(steady(4200))


for _kind, _places in (("fault in the opening", _OPENING), ("fault later", _LATER)):

    @_cases(_kind, "hole", [(at, length) for at in _places for length in (12, 37, 180)])
    def _(value: tuple[int, int]) -> MadeCall:
        return faulty(_hole(_a1(), *value), gap_ms=value[1], a1=steady(4200))

    @_cases(_kind, "muted", [(at, length) for at in _places for length in (20, 37, 180)])
    def _(value: tuple[int, int]) -> MadeCall:
        return faulty(_muted(_a1(), *value), gap_ms=value[1], a1=steady(4200))

    @_cases(_kind, "twice", [(at, min(at, of)) for at in _places for of in (20, 60, 255)])
    def _(value: tuple[int, int]) -> MadeCall:
        return faulty(_twice(at_rate(texts()["a1"]), *value), repeated_ms=value[1])

    @_cases(_kind, "left out", [(at, length) for at in _places for length in (20, 60, 255)])
    def _(value: tuple[int, int]) -> MadeCall:
        return faulty(_left_out(at_rate(texts()["a1"]), *value), missing_ms=value[1])


@_cases("fault in the opening", "beginning swallowed", [20, 60, 120, 200, 300, 500])
def _(length_ms: int) -> MadeCall:
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    heard, delta_ms = at_rate(text["a1"])[length_ms * RATE_HZ // 1000 :], end_ms + 900
    call.respond(delta_ms, delta_ms + 30, text["a1"], heard=heard, playout_ms=delta_ms + 15)
    for metric, value in (
        ("missing_ms", length_ms),
        ("gap_ms", 0),
        ("repeated_ms", 0),
        ("onset_clipped_ms", length_ms),
        ("tail_clipped_ms", 0),
    ):
        call.expect(metric, value, 1)
    call.hang_up(delta_ms + 6500)
    return call


_DRESSES = (
    *("ulaw", "noise -45", "noise -38", "gain -12", "gain -20", "invert", "dc 0.01", "hum -40"),
    *("clip", "echo -20"),
)


@_cases("fault on a bad line", "none", _DRESSES)
def _(line: str) -> MadeCall:
    return on_a_line(line)


@_cases("fault on a bad line", "hole of 37", _DRESSES)
def _(line: str) -> MadeCall:
    return on_a_line(line, heard=_hole(at_rate(texts()["a1"]), 1240, 37), faults=(37, 0, 0))


@_cases("fault on a bad line", "muted 60", _DRESSES)
def _(line: str) -> MadeCall:
    heard = _muted(_a1(), 1240, 60)
    return on_a_line(line, heard=heard, faults=(60, 0, 0), a1=steady(4200))


@_cases("fault on a bad line", "twice 60", _DRESSES)
def _(line: str) -> MadeCall:
    heard = _twice(at_rate(texts()["a1"]), 1240, 60)
    return on_a_line(line, heard=heard, faults=(0, 0, 60))


@_cases("fault on a bad line", "left out 60", _DRESSES)
def _(line: str) -> MadeCall:
    heard = _left_out(at_rate(texts()["a1"]), 1240, 60)
    return on_a_line(line, heard=heard, faults=(0, 60, 0))


@_cases("drift", "ppm", [50, 100, 200])
def _(ppm: int) -> MadeCall:
    import soxr

    wave = at_rate(texts()["a1"])
    return faulty(np.asarray(soxr.resample(wave, RATE_HZ * (1 + ppm * 1e-6), RATE_HZ)))


@_cases("tail never played", "ms", [60, 100, 255, 500, 1000, 1400])
def _(length_ms: int) -> MadeCall:
    wave = at_rate(texts()["a1"])
    call = faulty(wave[: -length_ms * RATE_HZ // 1000], missing_ms=length_ms)
    call.expect("onset_clipped_ms", 0, 1)
    call.expect("tail_clipped_ms", length_ms, 1)
    return call


@_cases("big fault", "hole", [600, 1000, 1600, 2500])
def _(length_ms: int) -> MadeCall:
    return faulty(_hole(_a1(), 2000, length_ms), gap_ms=length_ms, a1=steady(4200))


@_cases("big fault", "left out", [255, 600, 1400, 2000])
def _(length_ms: int) -> MadeCall:
    return faulty(_left_out(at_rate(texts()["a1"]), 1500, length_ms), missing_ms=length_ms)


@_cases("big fault", "again and again", [1, 3])
def _(times: int) -> MadeCall:
    wave = at_rate(texts()["a1"])
    again = [(1745.0, 2000.0)] * times
    return faulty(pieces(wave, (0, 2000), *again, (2000, END)), repeated_ms=255 * times)


@_cases("several faults", "two holes", [(30, 50), (50, 30)])
def _(value: tuple[int, int]) -> MadeCall:
    wave = pieces(_a1(), (0, 1240), value[0], (1240, 3000), value[1], (3000, END))
    return faulty(wave, gap_ms=50, a1=steady(4200))


@_cases("several faults", "holes close together", [40, 80, 150])
def _(apart_ms: int) -> MadeCall:
    wave = pieces(_a1(), (0, 1240), 30, (1240, 1240 + apart_ms), 30, (1240 + apart_ms, END))
    return faulty(wave, gap_ms=30, a1=steady(4200))


@_cases("several faults", "hole and twice", [1])
def _(_: int) -> MadeCall:
    wave = pieces(_a1(), (0, 1240), 37, (1240, 3000), (2940, END))
    return faulty(wave, gap_ms=37, repeated_ms=60, a1=steady(4200))


@_cases("several faults", "left out and twice", [1])
def _(_: int) -> MadeCall:
    wave = pieces(at_rate(texts()["a1"]), (0, 1240), (1300, 3000), (2940, END))
    return faulty(wave, missing_ms=60, repeated_ms=60)


@_cases("several faults", "muted over a dip of the source", [10, 20, 40, 60])
def _(dip_ms: int) -> MadeCall:
    answer = steady(4200)
    answer[MS * 1580 : MS * (1580 + dip_ms)] = 0
    return faulty(_muted(at_rate(answer), 1500, 180), gap_ms=180, a1=answer)


@_cases("several faults", "noise in the hole", [-60, -50, -45, -40])
def _(dbfs: int) -> MadeCall:
    wave = _hole(_a1(), 1240, 60)
    part = slice(1240 * RATE_HZ // 1000, 1300 * RATE_HZ // 1000)
    wave[part] = noise(960, dbfs)
    return faulty(wave, gap_ms=60, a1=steady(4200))


# --- levels and lines


@_cases("quiet answer", "dB", [-6, -14, -15, -16, -18, -20, -25, -28])
def _(db: int) -> MadeCall:
    return usual(heard=at_rate(texts()["a1"]) * factor(db))


@_cases("quiet answer", "its first 80 ms", [-10, -20, -30, -40])
def _(db: int) -> MadeCall:
    heard = at_rate(texts()["a1"])
    heard[: RATE_HZ * 80 // 1000] *= factor(db)
    call = usual(heard=heard, faults=None)
    if db <= -30:  # of these 80 ms next to nothing is loud enough to be a beginning
        call.truths = [one for one in call.truths if one.turn != 1]
    return call


@_cases("quiet answer", "from its second on", [6, -10, -16])
def _(db: int) -> MadeCall:
    heard = at_rate(texts()["a1"])
    heard[RATE_HZ:] *= factor(db)
    return usual(heard=heard)


@_cases("quiet answer", "faint beginning sent", [-20, -30])
def _(db: int) -> MadeCall:
    answer = texts()["a1"].copy()
    answer[: MS * 80] *= factor(db)
    return usual(a1=answer)


@_cases(
    "bad line",
    "",
    [
        *("hum -50", "hum -45", "hum -40", "hum -35", "dc 0.002", "dc 0.005", "dc 0.01", "dc 0.03"),
        *("ulaw", "clip", "invert", "noise -60", "noise -50", "noise -45", "noise -40"),
        *("noise -35", "comfort -60", "comfort -50", "comfort -42", "comfort -38"),
        *("music -45", "music -40", "music -35", "music -30"),
    ],
)
def _(line: str) -> MadeCall:
    return on_a_line(line)


@_cases("echo of the caller", "dB", [-15, -20, -25, -30, -40])
def _(db: int) -> MadeCall:
    call = usual(dress=on_the_line(_line(f"echo {db}")))
    call.expect("echo_return_loss_db", -db)
    call.expect("echo_delay_ms", 100)
    return call


@_cases("noise that sets in", "ms after the beginning", [30, 90, 200, 650])
def _(ms: int) -> MadeCall:
    def dress(call: MadeCall) -> None:
        call.ear[call.place(120 + ms) :] += noise(call.ear.size, -42)[call.place(120 + ms) :]

    return usual(beep_hz=None, beep_length_ms=None, dress=on_the_line(dress))


# --- the agent's own sounds


@_cases("sound into the answer", "ambience", [(300, -45), (300, -40), (300, -35), (70, -40)])
def _(value: tuple[int, int]) -> MadeCall:
    def dress(call: MadeCall, at_ms: tuple[float, float, float]) -> None:
        for onset_ms in at_ms[:2]:
            count = (value[0] + 400) * RATE_HZ // 1000
            call.hears(onset_ms - value[0], noise(count, value[1]))

    return usual(dress=dress)


@_cases("sound into the answer", "filler", [20, 40, 58, 150, 350, 500])
def _(before_ms: int) -> MadeCall:
    def dress(call: MadeCall, at_ms: tuple[float, float, float]) -> None:
        for onset_ms in at_ms[:2]:
            call.hears(onset_ms - before_ms - 200, at_rate(steady(6000, 8)[: MS * 200]))

    return usual(dress=dress)


@_cases("sound into the answer", "prompt", [30, 50, 100])
def _(before_ms: int) -> MadeCall:
    def dress(call: MadeCall, at_ms: tuple[float, float, float]) -> None:
        for onset_ms in at_ms[:2]:
            call.hears(onset_ms - before_ms - 700, at_rate(texts()["a3"][: MS * 700]))

    return usual(dress=dress, own_ms=1900)


@_cases("clicks before the answer", "ms", [(-20, 1), (-50, 1), (-200, 5), (-20, 5), (-45, 30)])
def _(value: tuple[int, int]) -> MadeCall:
    def dress(call: MadeCall, at_ms: tuple[float, float, float]) -> None:
        rng = np.random.default_rng(3)
        for onset_ms in at_ms[:2]:
            count = value[1] * RATE_HZ // 1000
            call.hears(onset_ms + value[0], 0.3 * rng.uniform(-1, 1, count))

    return usual(dress=dress)


# --- barge-ins


def barge_in(
    stop_ms: float,
    *,
    after_ms: float = 1500,
    answer: Wave | None = None,
    fade_ms: int = 0,
    told_ms: float | None = None,
    line: str | None = None,
    dress: Callable[[MadeCall, float], None] | None = None,
    lead_ms: float = 0,
    length_ms: float = 6000,
    question: Wave | None = None,
) -> MadeCall:
    """A question, and a second one into its answer, which goes on for so long."""
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    wave = steady(6000) if answer is None else answer
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    delta_ms = end_ms + 900
    ear_ms = delta_ms + 30 + lead_ms
    heard = at_rate(wave)[: round((after_ms + stop_ms) * RATE_HZ / 1000)].copy()
    if fade_ms:
        count = fade_ms * RATE_HZ // 1000
        heard[-count:] *= np.linspace(1, 0, count)
    playout_ms = ear_ms - lead_ms - 15
    _, item = call.respond(
        delta_ms,
        ear_ms,
        wave,
        heard=heard,
        lead_ms=lead_ms,
        playout_ms=playout_ms,
        played_ms=after_ms + stop_ms,
    )
    onset_ms = ear_ms + after_ms
    call.say(onset_ms, text["q2"] if question is None else question)
    played_ms = after_ms + stop_ms + lead_ms
    told = played_ms if told_ms is None else played_ms + told_ms
    call.mark(onset_ms + stop_ms, "agent", "truncate_sent", item=item, audio_end_ms=told)
    if line is not None:
        _line(line)(call)
    if dress is not None:
        dress(call, onset_ms)
    call.hang_up(onset_ms + length_ms)
    return call


@_cases("barge-in", "ms", [5, 20, 63, 100, 149, 250, 377, 500, 800, 1200])
def _(stop_ms: int) -> MadeCall:
    call = barge_in(stop_ms)
    call.expect("barge_in_stop_ms", stop_ms, 2)
    call.expect("heard_error_ms", 0)
    call.expect("false_stops", 0)
    if stop_ms <= 800:
        call.expect("talk_over_ms", stop_ms)
    return call


@_cases("false stop", "ms after the caller", [400, 1000, 3000])
def _(after_ms: int) -> MadeCall:
    """An answer is broken off so long after the question, into which nobody has spoken."""
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    heard = at_rate(text["a3"])[: after_ms * RATE_HZ // 1000]
    _, item = call.respond(end_ms + 1500, end_ms + 1530, text["a3"], heard=heard)
    stopped = {"item": item, "audio_end_ms": after_ms}
    call.mark(end_ms + 1530 + after_ms, "agent", "truncate_sent", **stopped)
    call.expect("false_stops", 1)
    call.expect("tail_clipped_ms", None, 1)
    call.hang_up(end_ms + 12_000)
    return call


@_cases("agent's voice", "dB", [0, -10, -20])
def _(db: int) -> MadeCall:
    call = usual(dress=on_the_line(_line(f"gain {db}")), beep_length_ms=None)
    spoken = np.concatenate([at_rate(texts()[name]) for name in ("greeting", "a1", "a2")])
    level_dbfs = active_level_dbfs(np.rint(spoken * 32768).astype(np.int16), RATE_HZ)
    call.expect("agent_level_dbfs", (level_dbfs or 0) + db)
    call.expect("agent_clipping_share", 0)
    call.expect("echo_return_loss_db", None)
    return call


@_cases("agent's voice", "over noise, dBFS", [-45, -35, -30])
def _(dbfs: int) -> MadeCall:
    """The noise under a voice is no part of its level, nor are its short pauses taken out of it."""
    call = usual(dress=on_the_line(_line(f"noise {dbfs}")), beep_length_ms=None)
    spoken = np.concatenate([at_rate(texts()[name]) for name in ("greeting", "a1", "a2")])
    level_dbfs = active_level_dbfs(np.rint(spoken * 32768).astype(np.int16), RATE_HZ)
    call.truths = []
    call.expect("agent_level_dbfs", level_dbfs or 0)
    return call


@_cases("agent's voice", "clipped at, of its peak", [0.9, 0.5, 0.2])
def _(share: float) -> MadeCall:
    text = texts()
    most = share * max(np.abs(at_rate(text[name])).max() for name in ("greeting", "a1", "a2"))

    def dress(call: MadeCall) -> None:
        call.ear = np.clip(call.ear, -most, most)

    call = usual(dress=on_the_line(dress), beep_hz=None, beep_length_ms=None)
    spoken = np.concatenate([at_rate(text[name]) for name in ("greeting", "a1", "a2")])
    call.truths = [one for one in call.truths if not one.metric.startswith("beep")]
    call.expect("agent_clipping_share", 100 * float(np.mean(np.abs(spoken) >= most)))
    return call


@_cases("packets", "lost of 1000", [0, 10, 30, 100])
def _(lost: int) -> MadeCall:
    """G.107's own arithmetic: 93.2 less what loss costs G.711, as an opinion."""

    def dress(call: MadeCall, _: object) -> None:
        rtp = {"received_packets": 1000 - lost, "lost_packets": lost, "jitter_ms": 1.0}
        call.mark(29_000, "caller", "rtp_measured", **rtp)
        call.mark(29_000, "agent", "rtp_measured", **rtp)

    call = usual(dress=dress)
    for metric, robustness in (("mos_heard", 4.3), ("mos_sent", 25.1)):
        r = 93.2 - 95 * (lost / 10) / (lost / 10 + robustness)
        call.expect(metric, 1 + 0.035 * r + 7e-6 * r * (r - 60) * (100 - r))
    return call


@_cases("barge-in", "speech, ms", [63, 149, 377, 800])
def _(stop_ms: int) -> MadeCall:
    call = barge_in(stop_ms, answer=texts()["a3"])
    call.expect("heard_error_ms", 0)
    return call


@_cases("barge-in", "faded", [100, 250, 500])
def _(stop_ms: int) -> MadeCall:
    call = barge_in(stop_ms, fade_ms=50)
    call.expect("barge_in_stop_ms", stop_ms - 2, 2)
    return call


@_cases("barge-in", "told", [-300, -60, 60, 300])
def _(error_ms: int) -> MadeCall:
    call = barge_in(150, told_ms=error_ms, lead_ms=200)
    call.expect("heard_error_ms", error_ms)
    call.expect("barge_in_stop_ms", 150, 2)
    return call


@_cases("barge-in on a bad line", "", ["noise -45", "noise -40", "hum -35", "dc 0.01", "ulaw"])
def _(line: str) -> MadeCall:
    call = barge_in(150, line=line)
    call.expect("barge_in_stop_ms", 150, 2)
    call.expect("heard_error_ms", 0)
    return call


@_cases("cut in noise", "as counted, ms", [900, 960, 1010])
def _(cut_ms: int) -> MadeCall:
    """It stops amid what is far below the noise: only the agent's count says where."""
    call = barge_in(cut_ms - 800, after_ms=800, answer=_faint_after(830), line="noise -25")
    call.mark(
        call.said[1][2] + cut_ms - 800,
        "agent", "playout_cleared", item="item2", played_ms=cut_ms, dropped_ms=1.0,
    )  # fmt: skip
    call.expect("barge_in_stop_ms", cut_ms - 800, 2)
    return call


@_cases("cut in noise", "counted by a liar, ms", [-200, 200])
def _(more_ms: int) -> MadeCall:
    """What is said to have been played is not believed where what is heard speaks against it."""
    call = barge_in(150, line="noise -25")
    call.mark(
        call.said[1][2] + 150,
        "agent", "playout_cleared", item="item2", played_ms=1650 + more_ms, dropped_ms=1.0,
    )  # fmt: skip
    call.expect("barge_in_stop_ms", 150, 2)
    return call


def _faint_after(at_ms: int) -> Wave:
    wave = steady(6000)
    wave[MS * at_ms : MS * 1400] *= factor(-29)
    return wave


@_cases("echo of the caller", "into a barge-in, dB", [-20, -25, -30])
def _(db: int) -> MadeCall:
    call = barge_in(150, line=f"echo {db}")
    for metric, value in (("barge_in_stop_ms", 150), ("heard_error_ms", 0), ("talk_over_ms", 150)):
        call.expect(metric, value)
    return call


def _with_a_pause(at_ms: int, pause_ms: int) -> Wave:
    wave = steady(6000)
    return np.concatenate([wave[: MS * at_ms], np.zeros(MS * pause_ms), wave[MS * at_ms :]])


@_cases("does not stop", "pause of its own", [390, 410, 500, 900])
def _(pause_ms: int) -> MadeCall:
    call = barge_in(4000, answer=_with_a_pause(1800, pause_ms), length_ms=8000)
    call.expect("barge_in_stop_ms", 4000, 2)
    return call


@_cases("does not stop", "at all", [1])
def _(_: int) -> MadeCall:
    call = barge_in(4400, length_ms=8000)
    call.expect("barge_in_stop_ms", 4400, 2)
    return call


@_cases("barge-in", "into a pause", [(350, 1600, 400), (350, 1760, 100), (900, 1500, 1500)])
def _(value: tuple[int, int, int]) -> MadeCall:
    pause_ms, at_ms, stop_ms = value
    call = barge_in(stop_ms, after_ms=at_ms, answer=_with_a_pause(1450, pause_ms))
    goes_on = at_ms + stop_ms > 1450 + pause_ms
    call.expect("barge_in_stop_ms", stop_ms if goes_on else None, 2)
    call.expect("heard_error_ms", 0)
    return call


@_cases("barge-in", "next answer after", [150, 300, 500, 1500])
def _(after_ms: int) -> MadeCall:
    text = texts()

    def dress(call: MadeCall, onset_ms: float) -> None:
        at_ms = onset_ms + 150 + after_ms
        call.respond(at_ms - 30, at_ms, text["a2"][: MS * 2000])

    question = text["q2"][: MS * 300]
    call = barge_in(150, dress=dress, question=question)
    call.expect("barge_in_stop_ms", 150, 2)
    call.expect("heard_error_ms", 0)
    if after_ms > 150:  # else it begins before the caller is done
        onset_ms = call.said[1][2]
        call.expect("turn_ms", onset_ms + 150 + after_ms - call.left_ms(onset_ms + 300), 2)
    return call


@_cases("barge-in", "behind a hole", [(100, 700), (300, 700), (100, 120), (300, 120)])
def _(value: tuple[int, int]) -> MadeCall:
    hole_ms, at_ms = value
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    wave, ear_ms = steady(6000), end_ms + 930
    heard = _hole(at_rate(wave), at_ms, hole_ms)[: 1650 * RATE_HZ // 1000]
    _, item = call.respond(ear_ms - 30, ear_ms, wave, heard=heard, played_ms=1650)
    call.say(ear_ms + 1500, text["q2"])
    told = {"item": item, "audio_end_ms": 1650 - hole_ms}
    call.mark(ear_ms + 1650, "agent", "truncate_sent", **told)
    for metric, true_ms, turn in (
        ("heard_error_ms", 0, None),
        ("barge_in_stop_ms", 150, 2),
        ("gap_ms", hole_ms, 1),
    ):
        call.expect(metric, true_ms, turn)
    call.hang_up(ear_ms + 7000)
    return call


@_cases("queued", "ms after", [20, 50, 70, 300])
def _(after_ms: int) -> MadeCall:
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    over_ms, _ = call.respond(end_ms + 900, end_ms + 930, text["a3"])
    second_ms = call.say(end_ms + 900 + 1530, text["q2"])
    onset_ms = over_ms + after_ms
    call.respond(second_ms + 900, onset_ms, text["a2"])
    call.expect("turn_ms", onset_ms - call.left_ms(second_ms), 2)
    for turn in (1, 2):
        call.expect("gap_ms", 0, turn)
    call.hang_up(onset_ms + 7000)
    return call


@_cases("early answer", "ms", [(700, 300), (1200, 600), (700, 100)])
def _(value: tuple[int, int]) -> MadeCall:
    """It begins before the caller is done: the server took a pause for the end."""
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    question = np.concatenate([text["q1"], np.zeros(MS * value[0]), text["q3"]])
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, question)
    call.respond(end_ms - value[1] - 30, end_ms - value[1], text["a3"], pace=1.2)
    call.expect("turn_ms", None, 1)
    call.hang_up(end_ms + 8000)
    return call


@_cases("early answer", "none", [1])
def _(_: int) -> MadeCall:
    """Nothing answers: there is no turn, and nothing else is taken for its answer."""
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    call.hears(end_ms + 1500, at_rate(text["a2"]))
    call.expect("turn_ms", None, 1)
    call.hang_up(end_ms + 6000)
    return call


# --- talk over, dead air, the mouth


@_cases("talk over", "ms", [40, 120, 333, 1000])
def _(over_ms: int) -> MadeCall:
    call, text = MadeCall(20), texts()
    call.set_up(tone(440, 400))
    end_ms, _ = call.respond(960, 1000, text["greeting"], greeting=True)
    call.say(end_ms - over_ms, text["q1"])
    call.expect("talk_over_ms", over_ms)
    both_ms = (text["greeting"].size + text["q1"].size) / MS - over_ms
    call.expect("double_talk_share", 100 * over_ms / both_ms)
    call.hang_up(9000)
    return call


@_cases("echo at the mouth", "dB", [-20, -30, -40])
def _(db: int) -> MadeCall:
    def dress(call: MadeCall) -> None:
        late = call.rate_hz // 5
        call.mouth[late:] += call.ear[:-late] * factor(db)

    return usual(dress=on_the_line(dress))


@_cases("noise at the mouth", "dB", [-45, -38, -33, -28])
def _(dbfs: int) -> MadeCall:
    def dress(call: MadeCall) -> None:
        call.mouth += noise(call.mouth.size, dbfs)

    return usual(dress=on_the_line(dress))


@_cases("noise at the mouth", "hum or dc", ["hum -45", "hum -35", "dc 0.005", "click"])
def _(what: str) -> MadeCall:
    def dress(call: MadeCall, at_ms: tuple[float, float, float]) -> None:
        if what.startswith("hum"):
            call.mouth += tone(50, call.length_ms, float(what[3:]))
        elif what.startswith("dc"):
            call.mouth += float(what[2:])
        else:
            first = call.place(at_ms[0] - 700)
            call.mouth[first : first + 16] += 0.3

    return usual(dress=dress)


@_cases("soft end", "dB", [-20, -25, -28])
def _(db: int) -> MadeCall:
    """The question's last 150 ms are faint, after a long stretch without a pause."""
    question = steady(3000, 6)
    question[-MS * 150 :] *= factor(db)
    return usual(q1=question)


@_cases("dead air", "", ["noise -45", "noise -38", "hum -45", "hum -35", "echo -25"])
def _(line: str) -> MadeCall:
    call, text = MadeCall(), texts()
    call.set_up(tone(440, 400))
    call.respond(960, 1000, text["greeting"], greeting=True)
    end_ms = call.say(1000 + text["greeting"].size / MS + 700, text["q1"])
    call.respond(end_ms + 4000, end_ms + 4030, text["a2"])
    _line(line)(call)
    call.expect("dead_air_ms", 4030)
    call.expect("turn_ms", end_ms + 4030 - call.left_ms(end_ms), 1)
    call.hang_up(end_ms + 4030 + text["a2"].size / MS + 1000)
    return call


# --- beeps


@_cases("beep", "hole", [(150, 20), (100, 40), (200, 60), (380, 10), (200, 37)])
def _(value: tuple[int, int]) -> MadeCall:
    beep = tone(440, 400)
    first = value[0] * RATE_HZ // 1000
    beep[first : first + value[1] * RATE_HZ // 1000] = 0
    return usual(beep=beep)


@_cases("beep", "dBFS", [-30, -40, -44, -3])
def _(dbfs: int) -> MadeCall:
    return usual(beep=np.clip(tone(440, 400, dbfs), -1, 1))


@_cases("beep", "line", ["noise -50", "noise -45", "noise -40", "ulaw", "dc 0.005", "hum -45"])
def _(line: str) -> MadeCall:
    return usual(dress=on_the_line(_line(line)))


@_cases("other beep", "Hz", [310, 1000, 1750, 2000, 2500, 3300])
def _(hz: int) -> MadeCall:
    return usual(beep=tone(hz, 400), beep_hz=hz)


def _without_a_beep(call: MadeCall) -> MadeCall:
    """A tone that is no beep as docs/metrics.md has it: it says so, and moves nothing else."""
    call.truths = [
        Truth(truth.metric, None) if truth.metric.startswith("beep") else truth
        for truth in call.truths
    ]
    return call


@_cases("no beep", "Hz", [250, 3600])
def _(hz: int) -> MadeCall:
    return _without_a_beep(usual(beep=tone(hz, 400)))


@_cases("no beep", "two tones, Hz", [(350, 440), (697, 1209)])
def _(pair: tuple[int, int]) -> MadeCall:
    return _without_a_beep(usual(beep=tone(pair[0], 400) + tone(pair[1], 400)))


@_cases("other beep", "clipped", [2, 4, 20])
def _(times: int) -> MadeCall:
    return usual(beep=np.clip(tone(440, 400) * times, -0.5, 0.5))


@_cases("other beep", "third harmonic dB", [-40, -30, -26, -20, -14, -10])
def _(db: int) -> MadeCall:
    return usual(beep=tone(440, 400) + tone(1320, 400, -14 + db))


@_cases("beep before the recording", "ms", [10, 25])
def _(before_ms: int) -> MadeCall:
    """Its first frame leaves before the caller's recording begins: no length, and it says so."""
    call, text = MadeCall(), texts()
    call.set_up(None)
    call.hears(120 - before_ms, tone(440, 400))
    call.expect("beep_hz", 440)
    call.expect("beep_length_ms", None)
    call.respond(960, 1000, text["greeting"], greeting=True)
    call.hang_up(6000)
    return call
