"""The pages: `index.html` of a run and `call.html` of a call. One file each, no network."""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from callerside.reports.metrics import measurement
from callerside.reports.metrics.audible import NS_PER_MS, AudibleSegments
from callerside.reports.pages.axis import Span
from callerside.reports.pages.call_view import view_of
from callerside.reports.sound.moments import Moment, moments
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.capacity import PARTIES, CapacityResult, charts
from callerside.reports.verdict.compare import Change
from callerside.reports.verdict.outcome import called, counted
from callerside.reports.verdict.results import RunInfo, summarise

if TYPE_CHECKING:
    from jinja2 import Environment

UNSERVED, SERVED = b'<body data-served="no">', b'<body data-served="yes">'
"""In `index.html`: whether somebody makes the pages of calls that have none when they are asked for
(`reports.page_server`). A row shows a link then, and the command for its page otherwise."""
_CHARSET = '<meta charset="utf-8">'
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_POLICY = (
    "default-src 'none'; script-src %s; style-src 'unsafe-inline'; img-src data:; "
    "media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
)
"""A recording lies beside its page, which most people open as a file."""
_CALL = "call.html"
_SPARK_WIDTH = 1000
_UP = "../"
_WORST = 20
_STEP = re.compile(r"\bstep (\d+): ")


@cache
def _pages() -> "Environment":
    """The templates; a plain install has no engine for them, and writes no page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("callerside.reports.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def prepare() -> None:
    """Make ready what a call's page is made with, once for this process and its copies."""
    _pages().get_template(_CALL)


@dataclass(frozen=True, slots=True)
class Row:
    """A call in the table of calls."""

    call: CallResult
    verdict: str
    spark: list[Span]
    spark_label: str
    turn_p95: float | None
    overhead_p95: float | None
    margin: float | None
    tightest: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Where to look when a call went wrong."""

    text: str
    ms: float | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the numbers since another run."""

    against: str
    rows: Sequence[Change]
    notes: Sequence[str] = ()
    """What the rows do not show (`reports.verdict.compare.notes`)."""

    @property
    def seen(self) -> list[Change]:
        """Those that are better or worse."""
        return [change for change in self.rows if change.verdict in ("better", "worse")]

    @property
    def unseen(self) -> list[Change]:
        """All others."""
        return [change for change in self.rows if change not in self.seen]


def index_page(
    info: RunInfo,
    calls: Sequence[CallResult],
    changes: Changes | None = None,
    without_page: Mapping[str, str] | None = None,
    serve: str = "",
) -> str:
    """The page of a run.

    Args:
        info: the run.
        calls: its calls.
        changes: since another run.
        without_page: of calls that have no page, the command that writes theirs, by slug.
        serve: the command that makes any of them at a click.
    """
    wrong = [call for call in calls if call.verdict != "passed"]
    return _page(
        "index.html",
        info=info,
        calls=calls,
        wrong=wrong,
        rows=[_row(call) for call in calls],
        summary=summarise(calls),
        outcome=info.outcome(calls),
        worst=_worst(calls),
        headline=f"{_count(len(calls))}, held to no limit"
        if calls and not wrong and not _is_held(calls)
        else _headline(calls, ended_early=bool(info.failure)),
        changes=changes,
        without_page=without_page or {},
        serve=serve,
    )


def _worst(calls: Sequence[CallResult]) -> list[tuple[CallResult, Moment, float]]:
    """The worst moments of bare recordings, over all of them, with their milliseconds."""
    found = [
        (call, moment, (moment.start_ns - call.evidence.recording_start_ns) / NS_PER_MS)
        for call in calls
        if call.evidence.info.recording
        for moment in moments(call)[:_WORST]
    ]
    return sorted(found, key=lambda one: -one[1].badness)[:_WORST]


def call_page(info: RunInfo, call: CallResult, *, counts: bool = True) -> str:
    """The page of a call; of the run, only its beginning, lane and calibration are shown.

    `counts`: whether this attempt is the one that does; the page of an earlier one lies deeper.
    """
    view = view_of(call)
    return _page(
        _CALL,
        info=info,
        call=call,
        home=_UP * (2 if counts else 3),
        earlier=[one.folder for one in call.earlier],
        problem=_problem(call),
        view=view,
        hints=_hints(call),
    )


def knee_page(knee: CapacityResult) -> str:
    """The page of a knee."""
    return _page("knee.html", knee=knee, charts=charts(knee), parties=PARTIES)


def _page(template: str, **shown: object) -> str:
    """A page that may do nothing but what its own scripts do: no other is run, nothing is loaded.

    All that it shows is escaped; this holds where that should ever be forgotten.
    """
    page = _pages().get_template(template).render(**shown)
    scripts = (sha256(script.encode()).digest() for script in _SCRIPT.findall(page))
    allowed = " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in scripts) or "'none'"
    policy = (
        f'{_CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{_POLICY % allowed}">'
    )
    return page.replace(_CHARSET, policy, 1)


def _problem(call: CallResult) -> str:
    """One sentence for a call that did not pass; its numbers follow it as hints."""
    if call.timing.verdict != "failed" or call.behaviour.verdict != "passed":
        return call.detail or "It went wrong, and nobody said how."
    count = sum(one.verdict == "failed" for one in call.judged)
    return f"{count} number{'s are' if count != 1 else ' is'} beyond the limit."


def _is_held(calls: Sequence[CallResult]) -> bool:
    """Whether there is a limit at all: bare recordings have none but what they are given."""
    return any(
        call.evidence.info.lane != "recording" or call.evidence.info.limits for call in calls
    )


def _headline(calls: Sequence[CallResult], *, ended_early: bool) -> str:
    if not calls:
        return "No call was made"
    what = _count(len(calls))
    told = counted(calls)
    if ended_early:
        return f"The run could not go on after {what}: {told}"
    return f"{what}: {told}"


def _count(calls: int) -> str:
    return "1 call" if calls == 1 else f"{calls} calls"


def _row(call: CallResult) -> Row:
    tightest = min(
        (one for one in call.judged if one.margin is not None),
        key=lambda one: (one.margin or 0.0) / max(1.0, abs(one.limit or 1.0)),
        default=None,
    )
    audible = call.measured.audible
    return Row(
        call=call,
        verdict=called(call),
        spark=_spark(audible),
        spark_label=f"{len(audible.mouth)} stretches of caller, {len(audible.ear)} of agent",
        turn_p95=_p95(call, "turn_ms"),
        overhead_p95=_p95(call, "agent_overhead_ms"),
        margin=tightest.margin if tightest else None,
        tightest=tightest.name if tightest else "",
    )


def _p95(call: CallResult, name: str) -> float | None:
    values = [one.value for one in call.judged if one.name == name and one.statistic is None]
    return measurement.percentile(values, 95) if values else None


def _spark(audible: AudibleSegments) -> list[Span]:
    sounds = [("mouth", s) for s in audible.mouth] + [("ear", s) for s in audible.ear]
    if not sounds:
        return []
    start_ns = min(s.start_ns for _, s in sounds)
    length_ns = max(s.end_ns for _, s in sounds) - start_ns
    scale = _SPARK_WIDTH / max(1, length_ns)
    return [
        Span(
            round((s.start_ns - start_ns) * scale, 1),
            round(max(1.0, (s.end_ns - s.start_ns) * scale), 1),
            channel,
            "beep" if s.kind == "beep" else channel,
        )
        for channel, s in sounds
    ]


def _hints(call: CallResult) -> list[Hint]:
    """What was measured, what was expected, and where to look: a line for each turn."""
    start_ns = min((mark.at_ns for mark in call.evidence.marks), default=0)
    beyond: dict[int | None, list[Judged]] = {}
    for one in call.judged:
        if one.verdict == "failed":
            beyond.setdefault(one.turn, []).append(one)
    turns = {turn.number: turn for turn in call.measured.turns}
    hints = list(_where_it_stopped(call, start_ns))
    for number, found in beyond.items():
        text = "; ".join(
            f"{one.name} {one.value:.1f} {one.unit}, expected {_bounds(one.low, one.high)}"
            for one in found
        )
        turn = turns.get(number or 0)
        if turn is None:
            hints.append(Hint(f"{text}.", None))
            continue
        ours = [hop for hop in turn.hops if hop.party != "server"]
        longest = max(ours, key=lambda hop: hop.length_ms, default=None)
        text = f"Turn {number}: {text}."
        if turn.own_ms:
            text += f" The server's own delay was {turn.own_ms:.1f} ms."
        if longest:
            text += f" Slowest of agent and path: {longest.name}, {longest.length_ms:.1f} ms."
        hints.append(Hint(text, (turn.start_ns - start_ns) / NS_PER_MS))
    return hints


def _where_it_stopped(call: CallResult, start_ns: int) -> Iterator[Hint]:
    """When the step began that the call's own sentence complains about (`step 3: expected ...`)."""
    for number in dict.fromkeys(_STEP.findall(call.evidence.info.detail)):
        step = int(number) - 1
        for mark in call.evidence.find("caller", "step_started"):
            if mark.fields.get("step") == step:
                at_ms = (mark.at_ns - start_ns) / NS_PER_MS
                text = f"Step {number} began here: {mark.fields.get('text', '')}."
                yield Hint(text, at_ms)


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:.1f} to {high:.1f}"
    return f"at most {high:.1f}" if high is not None else f"at least {low or 0.0:.1f}"
