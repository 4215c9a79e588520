"""Every metric there is. One entry declares it: what it is, how it is measured, held and compared.

From here come the numbers' units and their order in reports, the default budget, what a comparison
of runs tolerates, what a calibration knows of a metric's truth, and the tables of docs/metrics.md,
which explains the terms. A metric has its entry here, and the function that the entry names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from callerside.marks import Source

Evidence = Literal["caller's marks", "agent's marks", "server's marks", "recording", "audio sent"]
"""What a metric is measured from. *audio sent*: what was kept of what the server sent."""

MarkName = tuple[Source, str]

TOLERANCE = 10.0
"""A change for the worse of no more than this is no regression: half a packet's 20 ms, and what the
harness may err by. Runs of the same agent, with four to eight calls at once, differ by up to 4 ms
in nearly all that has a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """With its unit, where that is a time or a frequency."""
    unit: str = "ms"
    meaning: str
    """From where to where, or of what."""
    sources: tuple[Evidence, ...]
    """All that any of its ways to be measured looks at."""
    measured_by: str
    """The function that yields its measurements, as `module:function` of `reports/metrics/`."""
    none_because: str
    """Why a call has none of it, where nothing nearer is known."""
    counts_from: tuple[MarkName, ...] = ()
    """The mark at which it begins, for the page of a call: the first of these that there is."""
    more_is_better: bool = False
    """Its limits are the least that may be, its percentiles count from the best value down."""
    variants: tuple[str, ...] = ()
    """Kinds of it that have limits of their own."""
    own_delay: str = ""
    """The part of it that is a delay of the server's own, if it has one; limits may add to that."""
    budget: Any = None
    """Its default limit, as a scenario's `budget:` writes one; None: it has none."""
    budget_note: str = "none"
    """Said of a metric without a default limit."""
    tolerance: float | None = None
    """How much worse is no regression; None: `TOLERANCE`."""
    tolerance_note: str = ""
    of_the_agent: bool = True
    """False: it tells of the harness, and is never a regression."""
    truth: str = ""
    """What a calibration holds it against."""
    without_error: str = ""
    """Why there is nothing to hold it against: each metric has this, or a truth."""
    bias_is_ours: bool = True
    """False: another's time is in what a calibration finds as its bias, which is left in."""


_OF_ONE_PROCESS = "exact by construction: both ends are marks of one process, the agent's"
_OF_RTP = "as the agent's own RTP statistics have it: nothing of the harness lies between"
_PLACES = "the places of phrase and answer, and when it heard the one and said the other"
_CAME = "when the packet with the phrase's end came in, by the kernel's word, and when it answered"
_ANSWERED: tuple[MarkName, ...] = (("caller", "call_answered"), ("agent", "answered"))
_RECEIVED: tuple[MarkName, ...] = (("agent", "call_received"),)
_FAULTY = "of the faulty answer as it says, of the others 0"

_ALL = (
    Metric(
        name="answer_ms",
        meaning="INVITE sent → 200 OK received",
        sources=("caller's marks",),
        measured_by="measures:setup",
        none_because="the call was not answered, or not dialled by us",
        counts_from=(("caller", "call_dialed"),),
        budget=500,
        truth="from the INVITE to the 200 OK as the responder stamps them: the ways of both are in "
        "the error, which is a bound",
        bias_is_ours=False,  # the agent's stack has its part in the way of the INVITE
    ),
    Metric(
        name="connect_ms",
        meaning="call received → Realtime socket open (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no connection to the server",
        counts_from=_RECEIVED,
        own_delay="the delay that the server was to add",
        budget={"above_own": 100},
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="media_ready_ms",
        meaning="call received → media active (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no media",
        counts_from=_RECEIVED,
        budget=500,
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="beep_ms",
        meaning="200 OK received → onset of the beep at the ear",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:beep",
        none_because="no beep was heard",
        counts_from=_ANSWERED,
        budget=500,
        truth="from its 200 OK, as it stamps that, to the sound's place at the ear",
    ),
    Metric(
        name="beep_hz",
        unit="Hz",
        meaning="frequency of the beep at the ear",
        sources=("recording",),
        measured_by="measures:beep",
        none_because="no beep was heard",
        budget={"target": 440, "within": 5},
        tolerance=1.0,
        truth="as it plays it",
    ),
    Metric(
        name="beep_length_ms",
        meaning="its length, unless the call ended meanwhile",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:beep",
        none_because="no beep was heard",
        budget={"target": 400, "within": 20},
        truth="as it plays it",
    ),
    Metric(
        name="greeting_ms",
        meaning="200 OK received → first speech at the ear, before the caller has spoken; not "
        "before the agent's `greeting_started`, where there is one",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:greeting",
        none_because="no greeting was heard",
        counts_from=_ANSWERED,
        variants=("cached", "generated"),
        budget={"cached": 700, "generated": 3500},
        truth="from its 200 OK, as it stamps that, to the sound's place at the ear",
    ),
    Metric(
        name="ready_ms",
        meaning="call received → `LISTENING` after the greeting (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no greeting that ended",
        counts_from=_RECEIVED,
        budget=7000,
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="turn_ms",
        meaning="the packet with the caller's last voiced sample left → first voiced sample of the "
        "answer at the ear",
        sources=("caller's marks", "agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="the caller said nothing",
        own_delay="the server's own delay",
        budget={"above_own": 40},
        truth=_CAME,
    ),
    Metric(
        name="agent_overhead_ms",
        meaning="`turn_ms` less the server's own delay: what agent and path add",
        sources=("caller's marks", "agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="no turn has a server's own delay: its marks are not known",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="uplink_ms",
        meaning="the packet with the caller's last voiced sample left → its append sent (received, "
        "if appends were not traced)",
        sources=("caller's marks", "agent's marks", "server's marks", "recording"),
        measured_by="measures:turn_times",
        none_because="no turn's last sample was found at the server",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="downlink_ms",
        meaning="first delta received by the agent → answer at the ear, less the silence that it "
        "begins with",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="the agent tells of no delta",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="barge_in_stop_ms",
        meaning="the caller's onset at the mouth, while the agent speaks → agent silent at the ear",
        sources=("caller's marks", "agent's marks", "server's marks", "recording"),
        measured_by="barge_in:interruptions",
        none_because="the caller said nothing",
        budget=300,
        truth="the place of the caller's phrase, and that of the last sample that it played",
    ),
    Metric(
        name="heard_error_ms",
        meaning="`audio_end_ms` of a truncation, less the audio of that item heard",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="barge_in:interruptions",
        none_because="nothing was truncated",
        budget={"target": 0, "within": 40},
        truth="of truncations that report what was played of the answer that stops, 100 ms more, "
        "and 100 ms less",
    ),
    Metric(
        name="gap_ms",
        meaning="longest hole in an answer as heard that was not in its source",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="no answer was played",
        budget=20,
        truth=_FAULTY,
    ),
    Metric(
        name="missing_ms",
        meaning="audio of an answer that was left out",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        truth=_FAULTY,
    ),
    Metric(
        name="repeated_ms",
        meaning="audio of an answer that came twice",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        truth=_FAULTY,
    ),
    Metric(
        name="intelligibility",
        unit="%",
        meaning="of an answer as heard, against what was sent: STOI in per cent",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        more_is_better=True,
        tolerance=2.0,
        truth="of what is as its source: what G.711 alone leaves of it, computed",
    ),
    Metric(
        name="dead_air_ms",
        meaning="longest silence of both, from 200 OK to the hang-up",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:flow",
        none_because="nothing was recorded, or the call was not answered",
        budget_note="per scenario",
        tolerance=100.0,
        tolerance_note="it hangs on when single calls end",
        truth=_PLACES,
    ),
    Metric(
        name="talk_over_ms",
        meaning="how long both spoke at once",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:flow",
        none_because="nothing was recorded, or the call was not answered",
        budget_note="per scenario",
        tolerance=100.0,
        tolerance_note="it hangs on when single calls end",
        truth="the place of the caller's phrase, and that of the last sample that it played",
    ),
    Metric(
        name="append_interval_ms",
        meaning="p95 of the time between appends",
        sources=("agent's marks", "server's marks"),
        measured_by="measures:transport",
        none_because="nothing was appended, or nobody traced it",
        budget=100,
        without_error="exact by construction: it is made of marks of one process, the agent's",
    ),
    Metric(
        name="rtp_lost",
        unit="packets",
        meaning="packets that did not come, by the agent's RTP statistics (RFC 3550)",
        sources=("agent's marks",),
        measured_by="measures:transport",
        none_because="the agent tells of no RTP statistics",
        tolerance=5.0,
        without_error=_OF_RTP,
    ),
    Metric(
        name="rtp_jitter_ms",
        meaning="jitter, by the agent's RTP statistics (RFC 3550)",
        sources=("agent's marks",),
        measured_by="measures:transport",
        none_because="the agent tells of no RTP statistics",
        without_error=_OF_RTP,
    ),
    Metric(
        name="ear_late_ms",
        meaning="how late a packet came to the caller's ear at worst that its buffer took: "
        "nothing is heard of that",
        sources=("caller's marks",),
        measured_by="measures:transport",
        none_because="the caller tells of no packets",
        without_error="the difference of two stamps of one kernel",
    ),
    Metric(
        name="harness_lag_ms",
        meaning="how late the harness itself was at worst in this call, or how long the machine "
        "stood still",
        sources=("caller's marks",),
        measured_by="measures:disturbed",
        none_because="the caller tells of no lag of its own",
        of_the_agent=False,
        without_error="an error itself: the harness's own lateness, in that call",
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""By name, in the order in which reports list them."""
