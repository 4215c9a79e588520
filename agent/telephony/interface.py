"""One phone call's audio and signalling: the door between a call and the telephone network.

`CallLeg` is what a call needs of the telephone, and the inputs below are what the telephone reports
it. `pjsua.leg` and `baresip.leg` are one, and in memory `simulator.lanes.virtual.leg`; one
conformance suite runs on all. The scripted caller stands on the same door from the other side.

Audio is PCM, 16-bit little-endian, mono, at the leg's `sample_rate_hz`, in frames of 20 ms.

What comes fifty times a second is left out by the garbage collector (`gc=False`): nothing in it
leads back to it.
"""

from collections.abc import Callable, Collection
from typing import Literal, Protocol

from msgspec import Struct

from callerside.audio import Encoding

FRAME_MS = 20

TaggedSamples = tuple[tuple[int, int], ...]
"""Tags of `CallLeg.play`, and how many samples of each, in the order in which they are heard."""

NOTHING_PLAYED: TaggedSamples = ()

INBAND_KEYS = -1
"""The tag of the tones that a leg plays for `send_dtmf`."""

Party = Literal["caller", "agent", "network"]
DtmfMethod = Literal["rfc4733", "info", "inband"]


class CallReceived(Struct, frozen=True, kw_only=True):
    """An INVITE has arrived (agent's side). `called` and `caller` are user parts of SIP URIs.

    `traceparent` is the INVITE's header of that name (W3C Trace Context), or empty.
    """

    called: str
    caller: str
    sip_call_id: str
    traceparent: str = ""


class CallProgressed(Struct, frozen=True, kw_only=True):
    """A provisional response to our INVITE (caller's side): 180, 183, ..."""

    status: int


class CallAnswered(Struct, frozen=True, kw_only=True):
    """The call is up: 200 OK received (caller's side), or sent and acknowledged (agent's)."""

    status: int = 200


class MediaReady(Struct, frozen=True, kw_only=True):
    """Audio can flow both ways. Comes again when a re-INVITE has changed the media."""

    codec: str


class MediaHeld(Struct, frozen=True, kw_only=True):
    """The other side has put us on hold; `MediaReady` follows when it resumes.

    Frames go on meanwhile: silence is heard, and nothing of what waits is played.
    """


class MediaSource(Struct, frozen=True, kw_only=True):
    """Audio comes from an address that nobody has named: each `what` is told a few times at most.

    `moved`: it is the other side's, and ours is sent there now. `stranger`: it is not heard.
    `flood`: there are so many packets that most are not looked at.
    """

    what: Literal["moved", "stranger", "flood"]
    source: str
    """"host:port"."""


class AudioReceived(Struct, frozen=True, kw_only=True, gc=False):
    """One 20 ms frame, every 20 ms while media is up: silence where nothing arrived.

    `at_ns`: when its packet came in, or was given up. What was held back comes all at once.
    """

    pcm: bytes
    at_ns: int
    encoding: Encoding | None = None
    """How it came, if it did so in one piece and as G.711."""
    encoded: bytes = b""
    """The same audio so: whoever wants it like that need not encode it again."""


class FramePlayed(Struct, frozen=True, kw_only=True, gc=False):
    """A frame has left. `played` says what of it came from `play`; the rest was silence.

    `at_ns`: when it was sent.
    """

    played: TaggedSamples
    at_ns: int

    @property
    def samples(self) -> int:
        """How much of it came from `play`, whatever the tag."""
        return sum(samples for _, samples in self.played)


class PlayoutCleared(Struct, frozen=True, kw_only=True):
    """The answer to `clear`: every `FramePlayed` before it has come; this much was dropped.

    Of each tag that was named, 0 where nothing waited; of each that waited, where none was named.
    """

    dropped: TaggedSamples

    @property
    def dropped_samples(self) -> int:
        """How much that was, whatever the tag."""
        return sum(samples for _, samples in self.dropped)


class PlayoutOverflowed(Struct, frozen=True, kw_only=True):
    """`play` was handed more than the buffer's bound: this much, the newest, was dropped."""

    tag: int
    dropped_samples: int


class DtmfReceived(Struct, frozen=True, kw_only=True):
    """The other side pressed a key: 0-9, *, #, A-D."""

    digit: str
    method: DtmfMethod


class TransferRequested(Struct, frozen=True, kw_only=True):
    """The other side sent a REFER (caller's side): it wants us to call `uri` instead."""

    uri: str


class TransferProgressed(Struct, frozen=True, kw_only=True):
    """What became of our REFER (agent's side): a final status, 202 is not final."""

    status: int


class RtpMeasured(Struct, frozen=True, kw_only=True):
    """The stream's own statistics (RFC 3550), reported once when media ends."""

    received_packets: int
    lost_packets: int
    jitter_ms: float


class HungUp(Struct, frozen=True, kw_only=True):
    """The call is over; the last input of a leg. `status`: of BYE 200, else why it failed."""

    by: Party
    status: int
    reason: str


def joined(first: TaggedSamples, then: TaggedSamples) -> TaggedSamples:
    """What was played in two frames, one after the other."""
    if first and then and first[-1][0] == then[0][0]:
        tag, samples = then[0]
        return (*first[:-1], (tag, first[-1][1] + samples), *then[1:])
    return first + then


LegInput = (
    CallReceived
    | CallProgressed
    | CallAnswered
    | MediaReady
    | MediaHeld
    | MediaSource
    | AudioReceived
    | FramePlayed
    | PlayoutCleared
    | PlayoutOverflowed
    | DtmfReceived
    | TransferRequested
    | TransferProgressed
    | RtpMeasured
    | HungUp
)


class CallLeg(Protocol):
    """One call. Inputs arrive one at a time, on the loop's thread, never within a method's call.

    No method blocks or raises for the state the call is in: on a call that is over they do
    nothing.
    """

    sample_rate_hz: int
    """Of every `pcm` here. A frame has `sample_rate_hz // 50` samples."""

    def start(self, on_input: Callable[[LegInput], None]) -> None:
        """Deliver inputs to `on_input` from now on, those that wait already first.

        Called again, in an input's callback too, it changes where those that follow go.
        """

    def answer(self, status: int = 200) -> None:
        """Answer an incoming call."""

    def play(self, pcm: bytes, tag: int = 0) -> None:
        """Queue audio; paced; bounded.

        It stands behind what waits of its own `tag`, a number from 0 on that names what belongs
        together; where nothing waits of that, behind everything.
        """

    def clear(self, tags: Collection[int] | None = None) -> None:
        """Drop what has not been played, of these tags or of all; `PlayoutCleared` follows."""

    def hang_up(self, status: int = 200) -> None:
        """BYE, CANCEL or a refusal with `status`, whichever fits the call's state."""

    def send_dtmf(self, digits: str, method: DtmfMethod = "rfc4733") -> None:
        """Send key presses: the first one at once, the others 200 ms one after the other."""

    def consult(self, uri: str) -> "CallLeg":
        """Call somebody else on this caller's behalf: a leg of its own, of the same rate.

        It is dialled when it is started; if that cannot be, its `HungUp` says why.
        """

    def transfer(self, uri: str, consulted: "CallLeg | None" = None) -> None:
        """REFER the other side to `uri` (RFC 3515); `TransferProgressed` follows.

        With `consulted`, a leg of `consult`, to take its place (RFC 3891).
        """


class CallerLeg(CallLeg, Protocol):
    """A call that we place. `start` first, then `dial`."""

    def dial(self, uri: str) -> None:
        """Send the INVITE."""

    def hold(self) -> None:
        """Put the other side on hold (re-INVITE, sendonly)."""

    def resume(self) -> None:
        """Take it off hold."""

    def vanish(self) -> None:
        """Drop the call without a word: no BYE, no RTP, no answer to anything."""
