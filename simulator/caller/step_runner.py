"""Does the steps of a scenario one after the other: waits for each one's moment, acts, and checks.

A step begins when the one before has ended. It waits for its `when`, acts, and ends when what it
does is done, or what it expects has been heard. What only the other parties' timelines can show (a
function call, a state, a mark) does not hold the caller up: it is looked up after the call, by
`simulator.runner.expectations_after`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from callerside.clock import ms_to_ns
from callerside.durations import format_duration
from callerside.simulator.caller.call_state import ObservedCall
from callerside.simulator.caller.events import Effect, EmitMark
from callerside.simulator.caller.expect import Waiting, nearest, nearest_to_moment
from callerside.simulator.caller.performers import PERFORMERS, Ends, StepContext
from callerside.simulator.scenario.steps import Expect, Step, Voiced


@dataclass(slots=True)
class _Progress:
    """How far the step is that is being done."""

    began_ns: int
    ends: Ends | None = None
    """None until it acts."""


class StepRunner:
    """Some steps, in order.

    Args:
        steps: what to do.
        first: the number of the first step, for marks.
        audio: PCM of the steps that speak, by number.
        observed: what is known about the call.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        first: int,
        audio: Mapping[int, bytes],
        observed: ObservedCall,
    ) -> None:
        self.failure: str | None = None
        self.wake_ns: int | None = None
        self._steps = steps
        self._first = first
        self._audio = audio
        self._observed = observed
        self._position = 0
        self._progress: _Progress | None = None
        self._effects: list[Effect] = []

    @property
    def done(self) -> bool:
        """Whether every step has ended well."""
        return self.failure is None and self._position == len(self._steps)

    @property
    def phase(self) -> str:
        """The step that is being done."""
        return "done" if self._position == len(self._steps) else self._step.describe()

    @property
    def where(self) -> str:
        """The step that is being done, with its number as people count."""
        return f"step {self._number + 1} ({self.phase})"

    def awaited(self, now_ns: int) -> str:
        """What there was instead of what the step still waits for: a sentence's end, or nothing."""
        if self.done or self._progress is None:
            return ""
        return self._instead(self._step, self._progress, now_ns)

    def _instead(self, step: Step, progress: _Progress, now_ns: int) -> str:
        """Of the moment, until that has come, and of what is expected from then on."""
        near = ""
        if progress.ends is None and step.when is not None:
            near = nearest_to_moment(step.when, self._observed, progress.began_ns, now_ns)
        elif isinstance(step, Expect):
            near = nearest(step, self._observed, progress.began_ns, now_ns)
        return f"{near}; " if near else ""

    @property
    def undone(self) -> bool:
        """Whether a step has not been begun, or what it expects has not come."""
        left = len(self._steps) - self._position
        begun = self._progress is not None and self._progress.ends is not None
        return left > 1 or (left == 1 and (not begun or isinstance(self._step, Expect)))

    def go_on(self, now_ns: int) -> list[Effect]:
        """Go as far as the facts allow; call again at `wake_ns` at the latest."""
        self._effects = []
        self.wake_ns = None
        while self.failure is None and self._position < len(self._steps):
            if not self._step_ends(now_ns):
                break
            self._position += 1
            self._progress = None
        return self._effects

    @property
    def _step(self) -> Step:
        return self._steps[self._position]

    @property
    def _number(self) -> int:
        return self._first + self._position

    def _step_ends(self, now_ns: int) -> bool:
        """Do what can be done of the step; whether it has ended well."""
        step = self._step
        if self._progress is None:
            self._progress = _Progress(now_ns)
            self._mark_step(now_ns, "step_started", kind=step.action, text=step.describe())
        progress = self._progress
        if progress.ends is None:
            waiting = self._moment(step, progress, now_ns)
            if waiting is not None:
                return self._wait(waiting, now_ns)
            progress.ends = self._act(step, progress, now_ns)
        outcome = progress.ends(now_ns)
        if isinstance(outcome, Waiting):
            return self._wait(outcome, now_ns)
        told: dict[str, object] = {"cut": True} if outcome.cut else {}
        if outcome.keys:
            told["keys"] = outcome.keys
        self._mark_step(now_ns, "step_ended", ok=True, **told)
        return True

    def _wait(self, waiting: Waiting, now_ns: int) -> bool:
        if waiting.failure is not None:
            self.failure = f"step {self._number + 1}: {waiting.failure}"
            self._mark_step(now_ns, "step_ended", ok=False, detail=waiting.failure)
        self.wake_ns = waiting.until_ns
        return False

    def _moment(self, step: Step, progress: _Progress, now_ns: int) -> Waiting | None:
        """What there is to wait for before the step acts, if anything."""
        observed = self._observed
        if observed.ended is not None and not isinstance(step, Expect):
            return Waiting()  # nothing can be done in a call that has ended: the machine says so
        if isinstance(step, Voiced) and observed.media_ns is None:
            return self._patiently(step, progress, now_ns, "the call has no audio")
        if step.when is None:
            return None
        moment_ns = observed.moment_ns(step.when)
        if moment_ns is None or moment_ns > self._latest_ns(step, progress):
            return self._patiently(step, progress, now_ns, f'"{step.when}" did not come')
        return Waiting(moment_ns) if moment_ns > now_ns else None

    def _latest_ns(self, step: Step, progress: _Progress) -> float:
        """Until when the moment of a step may come, where its `within` says that."""
        if step.within is None or isinstance(step, Expect):
            return inf
        return progress.began_ns + ms_to_ns(step.within)

    def _patiently(self, step: Step, progress: _Progress, now_ns: int, reason: str) -> Waiting:
        patience_ms = self._observed.caller.patience
        if step.when is not None and step.when.event is None:
            patience_ms += step.when.offset_ms
        limit_ms = step.within if step.within is not None else patience_ms
        if isinstance(step, Expect):  # whose `within` counts from the moment on
            limit_ms = max(limit_ms, patience_ms)
        deadline_ns = progress.began_ns + ms_to_ns(limit_ms)
        if now_ns < deadline_ns:
            return Waiting(deadline_ns)
        return Waiting(
            failure=f"could not {step.what()}: {reason} within {format_duration(limit_ms)}; "
            f"{self._instead(step, progress, now_ns)}{self._observed.heard_so_far()}"
        )

    def _act(self, step: Step, progress: _Progress, now_ns: int) -> Ends:
        """Do the step; returns how it ends."""
        moment_ns = self._observed.moment_ns(step.when) if step.when is not None else None
        call = StepContext(
            now_ns=now_ns,
            moment_ns=now_ns if moment_ns is None else max(moment_ns, progress.began_ns),
            observed=self._observed,
            audio=self._audio.get(self._number),
            effects=self._effects,
        )
        return PERFORMERS[type(step)](step, call)

    def _mark_step(self, at_ns: int, name: str, **fields: object) -> None:
        self._mark(at_ns, name, step=self._number, **fields)

    def _mark(self, at_ns: int, name: str, **fields: object) -> None:
        self._effects.append(EmitMark(at_ns=at_ns, name=name, fields=fields))
