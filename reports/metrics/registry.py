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

LONGEST_MS = 3_600_000.0
"""No call is longer, and so nothing in it."""
_AT_LEAST_SOME = (1.0, LONGEST_MS)
"""Of a time that nothing keeps to zero."""
_UPON_SOMETHING = (10.0, LONGEST_MS)
"""Of what is heard after something else: less is not even half a packet's time."""
_COUNTED = (0.0, 1_000_000.0)
_IN_PER_CENT = (0.0, 100.0)

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
    bounded_by: str
    """What its error bound comes from."""
    counts_from: tuple[MarkName, ...] = ()
    """The mark at which it begins, for the page of a call: the first of these that there is."""
    more_is_better: bool = False
    """Its limits are the least that may be, its percentiles count from the best value down."""
    variants: tuple[str, ...] = ()
    """Kinds of it that have limits of their own."""
    own_delay: str = ""
    """The part of it that is a delay of the server's own, if it has one; limits may add to that."""
    limits: tuple[float, float] = (0.0, LONGEST_MS)
    """Between which a limit of it must lie: one beyond holds for no call, or for every one."""
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
_AFTER_FUNCTION = "from when a function has answered, to the place of the answer that follows it"
_ANSWERED: tuple[MarkName, ...] = (("caller", "call_answered"), ("agent", "answered"))
_RECEIVED: tuple[MarkName, ...] = (("agent", "call_received"),)
_BY_HAND = "held against calls made by hand (tests/reports/metrics): the responder has none of it"
_PACKETS = "exact but for the delay, which is known to a packet"
_EXACT = "exact: marks of one process, on one clock"
_NOTED = "when the caller's process took note of a message; in memory exact"
_FAULTS = (
    "1 ms where all is as it was sent; 10 ms where something is not, for what is laid over a pause "
    "has no edge, but 4 ms of a hole that puts off what follows; a frame where only the agent says "
    "it"
)
_FAULTY = "of the faulty answer as it says, of the others 0"

_ALL = (
    Metric(
        name="answer_ms",
        limits=_AT_LEAST_SOME,
        meaning="INVITE sent → 200 OK received",
        sources=("caller's marks",),
        measured_by="measures:setup",
        none_because="the call was not answered, or not dialled by us",
        bounded_by=_NOTED,
        counts_from=(("caller", "call_dialed"),),
        budget=500,
        truth="from the INVITE to the 200 OK as the responder stamps them: the ways of both are in "
        "the error, which is a bound",
        bias_is_ours=False,  # the agent's stack has its part in the way of the INVITE
    ),
    Metric(
        name="ringing_ms",
        limits=_AT_LEAST_SOME,
        meaning="INVITE sent → 180 Ringing received (session request delay, RFC 6076 §4.3)",
        sources=("caller's marks",),
        measured_by="measures:setup",
        none_because="no 180 came, or the call was not dialled by us",
        bounded_by=_NOTED,
        counts_from=(("caller", "call_dialed"),),
        truth="none of it: its telephone rings as the INVITE comes in, and the ways of both are in "
        "the error, which is a bound",
        bias_is_ours=False,
    ),
    Metric(
        name="connect_ms",
        limits=_AT_LEAST_SOME,
        meaning="call received → Realtime socket open (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no connection to the server",
        bounded_by=_EXACT,
        counts_from=_RECEIVED,
        own_delay="the delay that the server was to add, what it took to have its script ready, "
        "and the way there and back",
        budget={"above_own": 100},
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="media_ready_ms",
        limits=_AT_LEAST_SOME,
        meaning="call received → media active (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no media",
        bounded_by=_EXACT,
        counts_from=_RECEIVED,
        budget=500,
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="beep_ms",
        limits=_UPON_SOMETHING,
        meaning="200 OK received → onset of the beep at the ear",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:beep",
        none_because="no beep was heard",
        bounded_by="the tone's edge, and when the 200 OK was noted; where it sounded "
        "before the recording began, all of it",
        counts_from=_ANSWERED,
        budget=500,
        truth="from its 200 OK, as it stamps that, to the sound's place at the ear",
    ),
    Metric(
        name="beep_hz",
        unit="Hz",
        limits=(20.0, 20_000.0),
        meaning="frequency of the beep at the ear",
        sources=("recording",),
        measured_by="measures:beep",
        none_because="no beep was heard",
        bounded_by="the tone's length",
        budget={"target": 440, "within": 5},
        tolerance=1.0,
        truth="as it plays it",
    ),
    Metric(
        name="beep_length_ms",
        limits=_UPON_SOMETHING,
        meaning="its length, unless the call ended meanwhile",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:beep",
        none_because="no beep was heard",
        bounded_by="the tone's two edges",
        budget={"target": 400, "within": 20},
        truth="as it plays it",
    ),
    Metric(
        name="greeting_ms",
        limits=_UPON_SOMETHING,
        meaning="200 OK received → first speech at the ear, before the caller has spoken; not "
        "before the agent's `greeting_started`, where there is one",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:greeting",
        none_because="no greeting was heard",
        bounded_by="the greeting's onset, and when the 200 OK was noted",
        counts_from=_ANSWERED,
        variants=("cached", "generated"),
        budget={"cached": 700, "generated": 3500},
        truth="from its 200 OK, as it stamps that, to the sound's place at the ear",
    ),
    Metric(
        name="ready_ms",
        limits=_UPON_SOMETHING,
        meaning="call received → `LISTENING` after the greeting (agent)",
        sources=("agent's marks",),
        measured_by="measures:setup",
        none_because="the agent tells of no greeting that ended",
        bounded_by=_EXACT,
        counts_from=_RECEIVED,
        budget=7000,
        without_error=_OF_ONE_PROCESS,
    ),
    Metric(
        name="turn_ms",
        limits=_UPON_SOMETHING,
        meaning="the packet with the caller's last voiced sample left → first voiced sample of the "
        "answer at the ear",
        sources=("caller's marks", "agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="the caller said nothing",
        bounded_by="the end of what was said, and the answer's onset; against a limit above "
        "the server's own delay that of `agent_overhead_ms`",
        own_delay="the server's own delay, with the way there and back",
        budget={"above_own": 40},
        truth=_CAME,
    ),
    Metric(
        name="agent_overhead_ms",
        limits=_AT_LEAST_SOME,
        meaning="`turn_ms` less the server's own delay and the way to it and back: what agent and "
        "telephone add",
        sources=("caller's marks", "agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="no turn has a server's own delay: its marks are not known",
        bounded_by="the end of what was said, the answer's onset, and which append carried the "
        "last voiced sample: another one where that lies near the append's edge",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="uplink_ms",
        limits=_AT_LEAST_SOME,
        meaning="the packet with the caller's last voiced sample left → its append sent (received, "
        "if appends were not traced)",
        sources=("caller's marks", "agent's marks", "server's marks", "recording"),
        measured_by="measures:turn_times",
        none_because="no turn's last sample was found at the server",
        bounded_by="the end of what was said, and which append carried it",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="downlink_ms",
        limits=_AT_LEAST_SOME,
        meaning="first delta received by the agent → answer at the ear, less the silence that it "
        "begins with",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="measures:turn_times",
        none_because="the agent tells of no delta",
        bounded_by="the answer's onset",
        budget=40,
        truth=_CAME,
    ),
    Metric(
        name="tool_ms",
        meaning="the model calls a function → its result is there, or it was given up (agent)",
        sources=("agent's marks",),
        measured_by="tool_times:tool_times",
        none_because="the model called no function",
        bounded_by=_EXACT,
        budget_note="none: the functions are yours",
        truth="as its marks are made: a function that takes so long",
    ),
    Metric(
        name="final_answer_ms",
        limits=_UPON_SOMETHING,
        meaning="of a turn with functions: the packet with the caller's last voiced sample left → "
        "first voiced sample of the answer that waited for them, at the ear; what is said before "
        "it, and ends `turn_ms`, does not count",
        sources=("caller's marks", "agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="tool_times:tool_times",
        none_because="the model called no function",
        bounded_by="the end of what was said, and the answer's onset",
        budget=10_000,
        truth="when the packet with the phrase's end came in, and the place of the answer that "
        "follows a function",
    ),
    Metric(
        name="answer_after_tools_ms",
        meaning="the last function of a turn has answered, and what was said meanwhile has been "
        "heard → first voiced sample of the answer at the ear",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="tool_times:tool_times",
        none_because="the model called no function",
        bounded_by="the answer's onset",
        own_delay="the server's part: from its receipt of the request to its first delta, with the "
        "silence that it begins with, and the way there and back; answers before it that failed or "
        "had no sound are in it, with the time until another was asked for",
        budget={"above_own": 100},
        truth=_AFTER_FUNCTION,
    ),
    Metric(
        name="tool_silence_ms",
        meaning="longest silence at the ear from the first call of a function in a turn to the "
        "answer",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="tool_times:tool_times",
        none_because="the model called no function",
        bounded_by="the edges of what was heard",
        budget=9_000,
        truth="the silence between a sentence and the answer that follows it, as it keeps to it",
    ),
    Metric(
        name="barge_in_stop_ms",
        limits=_UPON_SOMETHING,
        meaning="the caller's onset at the mouth, while the agent speaks → agent silent at the ear",
        sources=("caller's marks", "agent's marks", "server's marks", "recording"),
        measured_by="barge_in:interruptions",
        none_because="the caller said nothing",
        bounded_by="the onset of what was said, and where the answer was cut: as far as it is too "
        "faint there to be told from noise",
        own_delay="the way there and back, where the server heard it",
        budget={"above_own": 300},
        truth="the place of the caller's phrase, and that of the last sample that it played",
    ),
    Metric(
        name="false_stops",
        unit="stops",
        limits=_COUNTED,
        meaning="how often an answer was broken off although the caller had not spoken, or pressed "
        "a key, in the 1.5 s before",
        sources=(
            "caller's marks",
            "agent's marks",
            "recording",
        ),
        measured_by="barge_in:false_stops",
        none_because="nothing was recorded, or the agent tells of no playout",
        bounded_by=_EXACT,
        tolerance=0.0,
        without_error=_BY_HAND,
    ),
    Metric(
        name="heard_error_ms",
        limits=(-LONGEST_MS, LONGEST_MS),
        meaning="`audio_end_ms` of a truncation, less the audio of that item heard",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="barge_in:interruptions",
        none_because="nothing was truncated",
        bounded_by="where the answer was cut, as for `barge_in_stop_ms`",
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
        bounded_by=_FAULTS,
        budget=20,
        truth=_FAULTY,
    ),
    Metric(
        name="missing_ms",
        meaning="audio of an answer that was left out",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        bounded_by=_FAULTS,
        truth=_FAULTY,
    ),
    Metric(
        name="repeated_ms",
        meaning="audio of an answer that came twice",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        bounded_by=_FAULTS,
        truth=_FAULTY,
    ),
    Metric(
        name="onset_clipped_ms",
        meaning="what the server sent of an answer's beginning that never reached the ear",
        sources=(
            "agent's marks",
            "server's marks",
            "recording",
            "audio sent",
        ),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        bounded_by="the answer's onset",
        without_error=_BY_HAND,
    ),
    Metric(
        name="tail_clipped_ms",
        meaning="what the server sent of an answer's end that never reached the ear, though nobody "
        "spoke into it",
        sources=(
            "agent's marks",
            "server's marks",
            "recording",
            "audio sent",
        ),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        bounded_by="where the answer was cut, as for `barge_in_stop_ms`",
        without_error=_BY_HAND,
    ),
    Metric(
        name="intelligibility",
        unit="%",
        limits=(1.0, 100.0),
        meaning="of an answer as heard, against what was sent: STOI in per cent",
        sources=("agent's marks", "server's marks", "recording", "audio sent"),
        measured_by="answer_faults:faults",
        none_because="what the server sent is not known",
        bounded_by="how well what was heard is laid in step with what was sent",
        more_is_better=True,
        tolerance=2.0,
        truth="of what is as its source: what G.711 alone leaves of it, computed",
    ),
    Metric(
        name="dead_air_ms",
        limits=_UPON_SOMETHING,
        meaning="longest silence of both, from 200 OK to the hang-up",
        sources=("caller's marks", "agent's marks", "recording"),
        measured_by="measures:flow",
        none_because="nothing was recorded, or the call was not answered",
        bounded_by="the edges of the sounds on either side",
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
        bounded_by="the edges of every overlap, and of sounds that nearly overlap",
        budget_note="per scenario",
        tolerance=100.0,
        tolerance_note="it hangs on when single calls end",
        truth="the place of the caller's phrase, and that of the last sample that it played",
    ),
    Metric(
        name="double_talk_share",
        unit="%",
        limits=_IN_PER_CENT,
        meaning="`talk_over_ms`, of the time in which either spoke",
        sources=(
            "caller's marks",
            "agent's marks",
            "recording",
        ),
        measured_by="measures:flow",
        none_because="nothing was recorded, or nobody spoke",
        bounded_by="that of `talk_over_ms`",
        tolerance=2.0,
        without_error=_BY_HAND,
    ),
    Metric(
        name="append_interval_ms",
        limits=_AT_LEAST_SOME,
        meaning="p95 of the time between appends",
        sources=("agent's marks", "server's marks"),
        measured_by="measures:transport",
        none_because="nothing was appended, or nobody traced it",
        bounded_by=_EXACT,
        budget=100,
        without_error="exact by construction: it is made of marks of one process, the agent's",
    ),
    Metric(
        name="rtp_lost",
        unit="packets",
        limits=_COUNTED,
        meaning="packets that did not come, by the agent's RTP statistics (RFC 3550)",
        sources=("agent's marks",),
        measured_by="measures:transport",
        none_because="the agent tells of no RTP statistics",
        bounded_by=_EXACT,
        tolerance=5.0,
        without_error=_OF_RTP,
    ),
    Metric(
        name="rtp_jitter_ms",
        meaning="jitter, by the agent's RTP statistics (RFC 3550)",
        sources=("agent's marks",),
        measured_by="measures:transport",
        none_because="the agent tells of no RTP statistics",
        bounded_by=_EXACT,
        without_error=_OF_RTP,
    ),
    Metric(
        name="ear_late_ms",
        meaning="how late a packet came to the caller's ear at worst that its buffer took: "
        "nothing is heard of that",
        sources=("caller's marks",),
        measured_by="measures:transport",
        none_because="the caller tells of no packets",
        bounded_by=_EXACT,
        without_error="the difference of two stamps of one kernel",
    ),
    Metric(
        name="mos_heard",
        unit="MOS",
        limits=(1.0, 4.5),
        meaning="what listeners would say of what the caller hears, by its packets: an estimate "
        "(ITU-T G.107, G.107.1), 1 to 4.5",
        sources=(
            "caller's marks",
            "agent's marks",
        ),
        measured_by="line_quality:opinions",
        none_because="no RTP statistics, or no codec, are known of that direction",
        bounded_by=_PACKETS,
        more_is_better=True,
        tolerance=0.1,
        without_error=_BY_HAND,
    ),
    Metric(
        name="mos_sent",
        unit="MOS",
        limits=(1.0, 4.5),
        meaning="the same of what the agent hears of the caller",
        sources=(
            "caller's marks",
            "agent's marks",
        ),
        measured_by="line_quality:opinions",
        none_because="no RTP statistics, or no codec, are known of that direction",
        bounded_by=_PACKETS,
        more_is_better=True,
        tolerance=0.1,
        without_error=_BY_HAND,
    ),
    Metric(
        name="agent_level_dbfs",
        unit="dBFS",
        limits=(-100.0, 0.0),
        meaning="active speech level of the agent at the ear (ITU-T P.56)",
        sources=("recording",),
        measured_by="line_quality:agents_voice",
        none_because="nothing was recorded",
        bounded_by="1 dB, and twice what is taken off for the noise under the voice",
        tolerance=1.0,
        without_error=_BY_HAND,
    ),
    Metric(
        name="agent_clipping_share",
        unit="%",
        limits=_IN_PER_CENT,
        meaning="how much of the agent's voice was cut off by clipping: samples as loud as the "
        "loudest, three and more in a row",
        sources=("recording",),
        measured_by="line_quality:agents_voice",
        none_because="nothing was recorded",
        bounded_by="peaks of a voice that are as loud: 0.1 %, and 15 % of the share",
        tolerance=0.5,
        without_error=_BY_HAND,
    ),
    Metric(
        name="echo_return_loss_db",
        unit="dB",
        limits=(0.0, 100.0),
        meaning="how much quieter the caller's own voice comes back to the ear (ITU-T G.122)",
        sources=(
            "caller's marks",
            "recording",
        ),
        measured_by="line_quality:echo",
        none_because="nothing was recorded, or the caller said nothing",
        bounded_by="noise, and what else is heard under the echo: 1 dB",
        more_is_better=True,
        tolerance=1.0,
        without_error=_BY_HAND,
    ),
    Metric(
        name="echo_delay_ms",
        meaning="how much later it comes back",
        sources=(
            "caller's marks",
            "recording",
        ),
        measured_by="line_quality:echo",
        none_because="nothing was recorded, or the caller said nothing",
        bounded_by="the place of the echo's correlation: 1 ms",
        without_error=_BY_HAND,
    ),
    Metric(
        name="harness_lag_ms",
        meaning="how late the harness itself was at worst in this call, or how long the machine "
        "stood still",
        sources=("caller's marks",),
        measured_by="measures:disturbed",
        none_because="the caller tells of no lag of its own",
        bounded_by=_EXACT,
        of_the_agent=False,
        without_error="an error itself: the harness's own lateness, in that call",
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""By name, in the order in which reports list them."""
