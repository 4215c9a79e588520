"""What the caller knows about the call so far; the steps wait for facts to become true.

Times are nanoseconds on the call's clock, None for what has not happened. What is a greeting and
what is a reply, for steps and for `never`, is said here once.
"""

from typing import assert_never

from callerside.agent.telephony.interface import HungUp
from callerside.clock import ms_to_ns, ns_to_ms
from callerside.simulator.caller.listener import AgentUtterance, Listener
from callerside.simulator.caller.speaker import SpeechOutput
from callerside.simulator.scenario.model import Caller
from callerside.simulator.scenario.moments import Moment


def is_greeting(number: int, *, greets: bool) -> bool:
    """Whether an utterance is the greeting: the first (0) of an agent that is set to greet."""
    return greets and number == 0


def is_reply(number: int, start_ns: int, *, greets: bool, first_turn_end_ns: int | None) -> bool:
    """Whether an utterance is a reply: it is no greeting, or began after a turn of the caller's.

    Args:
        number: of the utterance in its call, from 0.
        start_ns: when it began.
        greets: whether the agent is set to greet.
        first_turn_end_ns: when the caller's first turn was over; keys are a turn, too.
    """
    answers = first_turn_end_ns is not None and start_ns >= first_turn_end_ns
    return answers or not is_greeting(number, greets=greets)


class ObservedCall:
    """Everything that has happened in one call, as seen by the caller."""

    def __init__(
        self, caller: Caller, listener: Listener, speech: SpeechOutput, *, greets: bool
    ) -> None:
        self.caller = caller
        self.greets = greets
        self.listener = listener
        self.speech = speech
        self.turns = 0
        self.dialed_ns: int | None = None
        self.ringing_ns: int | None = None
        self.answered_ns: int | None = None
        self.media_ns: int | None = None
        self.ended_ns: int | None = None
        self.ended: HungUp | None = None
        self.digits: list[tuple[int, str]] = []
        self.transfers: list[tuple[int, str]] = []
        self.met: set[tuple[str, int]] = set()
        """What has met a step, by kind and number among its kind: each meets one."""
        self.vanished = False
        """Whether the caller leaves without a word."""
        self.silence_sure_ns: int | None = None
        """As of the last time the steps went on; a change is news to them."""
        self._in_turn = False
        self._turn_starts_ns: list[int] = []
        self._turn_end_ns: int | None = None
        self._first_turn_end_ns: int | None = None

    def turn_started(self, at_ns: int) -> None:
        """The caller takes the turn: what the agent says from now on is no answer yet."""
        if not self._in_turn:
            self._turn_starts_ns.append(at_ns)
        self._in_turn, self._turn_end_ns = True, at_ns
        self.listener.spoken_into()

    def turn_ended(self, at_ns: int) -> None:
        """The caller has finished: what the agent begins from now on is a reply."""
        if not self._in_turn:  # keys take a turn in no time
            self._turn_starts_ns.append(at_ns)
        self._in_turn, self._turn_end_ns = False, at_ns
        if self._first_turn_end_ns is None:
            self._first_turn_end_ns = at_ns

    def greeting(self) -> AgentUtterance | None:
        """The first that the agent said in this call, if it is set to greet."""
        utterances = self.listener.utterances
        return utterances[0] if utterances and is_greeting(0, greets=self.greets) else None

    def reply(self) -> AgentUtterance | None:
        """The first talk since the caller's last turn that no step has waited out yet."""
        if self._in_turn:
            return None
        since_ns = self._turn_end_ns
        return next(
            (
                utterance
                for number, utterance in enumerate(self.listener.utterances)
                if self._is_reply(number, utterance)
                and not utterance.heard_out
                and (since_ns is None or utterance.start_ns >= since_ns)
            ),
            None,
        )

    def moment_ns(self, moment: Moment) -> int | None:
        """When a moment is, as soon as that is known; may lie ahead."""
        event_ns = self._event_ns(moment)
        return None if event_ns is None else event_ns + ms_to_ns(moment.offset_ms)

    def silent_since_ns(self) -> int | None:
        """Since when nobody has spoken; None while somebody does, and before there is media."""
        if self.media_ns is None or self.speech.speaking or self.listener.sounding:
            return None
        times = [self.media_ns, self._turn_end_ns or 0]
        times += [utterance.quiet_ns or 0 for utterance in self.listener.utterances[-1:]]
        times += [beep.end_ns for beep in self.listener.beeps[-1:]]
        return max(times)

    def agent_silent_since_ns(self) -> int | None:
        """Since when the agent has not spoken, or since the caller's turn is over.

        None while one of the two lasts, and before there is media.
        """
        if self.media_ns is None or self._in_turn or self.listener.sounding:
            return None
        quiet_ns = self.listener.utterances[-1].quiet_ns if self.listener.utterances else None
        return max(self.media_ns, quiet_ns or 0, self._turn_end_ns or 0)

    def turn_start_ns(self, before_ns: int) -> int:
        """When the caller's last turn before a time began; 0 if there was none.

        What happened earlier meets no expectation of then.
        """
        return max((ns for ns in self._turn_starts_ns if ns <= before_ns), default=0)

    @property
    def turn_end_ns(self) -> int | None:
        """When the caller's last turn was over; None before the first, and in one."""
        return None if self._in_turn else self._turn_end_ns

    def since_answer(self, at_ns: int) -> str:
        """An instant as people count: from the answer, `3.20 s`."""
        return self._s(at_ns)

    def heard_so_far(self) -> str:
        """What was heard, in words; times count from the answer."""
        if self.answered_ns is None:
            return "the call is not answered"
        beeps = [
            f"a beep of {beep.hz:.0f} Hz at {self._s(beep.start_ns)}"
            for beep in self.listener.beeps
        ]
        utterances = [
            f"speech from {self._s(utterance.start_ns)}"
            + (f" to {self._s(utterance.quiet_ns)}" if utterance.quiet_ns is not None else " on")
            for utterance in self.listener.utterances
        ]
        heard = ", ".join(beeps + utterances) or "nothing"
        return f"heard since the answer: {heard}"

    def _is_reply(self, number: int, utterance: AgentUtterance) -> bool:
        first_ns = self._first_turn_end_ns
        return is_reply(number, utterance.start_ns, greets=self.greets, first_turn_end_ns=first_ns)

    def _event_ns(self, moment: Moment) -> int | None:
        match moment.event:
            case None:
                return self.silent_since_ns()
            case "dialed":
                return self.dialed_ns
            case "ringing":
                return self.ringing_ns
            case "answer":
                return self.answered_ns
            case "beep":
                return self.listener.beeps[0].end_ns if self.listener.beeps else None
            case "greeting":
                utterance = self.greeting()
            case "reply":
                utterance = self.reply()
            case unknown:
                assert_never(unknown)
        if utterance is None:
            return None
        return utterance.start_ns if moment.edge == "start" else utterance.end_ns

    def _s(self, at_ns: int) -> str:
        return f"{ns_to_ms(at_ns - (self.answered_ns or at_ns)) / 1000:.2f} s"
