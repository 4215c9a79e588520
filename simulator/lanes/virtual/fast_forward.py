"""Says what is due on a line in memory, and lets frames pass one by one, or many at once.

Most of a call is routine: a frame leaves and a frame is heard at either end, and nothing comes of
it. Where both ends say that nothing can come of the next frames, whatever is in them or because
they are silent, and nothing else is due meanwhile, they pass in one go. A call is the same to the
last byte either way (tests/simulator/lanes/virtual/test_fast_forward.py plays both), only sooner
over.
"""

from collections.abc import Callable

from callerside.simulator.lanes.virtual.clock import NEVER_NS, VirtualClock
from callerside.simulator.lanes.virtual.media import FRAME_NS, VirtualMedia

_MOST_FRAMES = 500
"""At once: ten seconds."""

Patience = Callable[[int, bytes | None], int]
"""Asked how many of the frames that are coming may be passed at once; 1 or less: none but the next.

It gets how many are coming, and what is in them, or None for silence. So many must then come.
"""


def impatient(_frames: int, _coming: bytes | None) -> int:
    """The `Patience` of who wants every frame by itself."""
    return 1


class LineBeat:
    """The `Metronome` of one line.

    Args:
        clock: the run's time, whose metronome this becomes, unless another line has it already:
            then its frames pass one by one, as timers of the clock.
        agent: the media of the agent's end.
        caller: and of the caller's.
    """

    def __init__(self, clock: VirtualClock, agent: VirtualMedia, caller: VirtualMedia) -> None:
        self.agent_patience: Patience = impatient
        self.caller_patience: Patience = impatient
        self._clock = clock
        self._agent = agent
        self._caller = caller
        if clock.has_metronome:
            self._tick()
        else:
            clock.metronome = self

    @property
    def due_ns(self) -> int:
        """See `Metronome.due_ns`."""
        agent, caller = self._agent, self._caller
        return min(agent.due_ns, caller.due_ns, agent.hears.due_ns, caller.hears.due_ns)

    @property
    def sequence(self) -> int:
        """See `Metronome.sequence`."""
        return self._next()[1]

    def beat(self, before_ns: int) -> None:
        """See `Metronome.beat`."""
        if self._pass_many(before_ns):
            return
        self._pass_next()

    def _tick(self) -> None:
        now_ns = self._clock.now_ns()
        while self.due_ns <= now_ns:
            self._pass_next()
        self._clock.call_at(min(self.due_ns, now_ns + FRAME_NS), self._tick)

    def _pass_next(self) -> None:
        due_ns, _, who, sends = self._next()
        media = (self._agent, self._caller)[who]
        if sends:
            media.send()
        else:
            media.hear(due_ns)

    def _next(self) -> tuple[int, int, int, bool]:
        """What is due next: when, its place among others then, at which end, whether to send."""
        agent, caller = self._agent, self._caller
        return min(
            (agent.due_ns, agent.sequence, 0, True),
            (caller.due_ns, caller.sequence, 1, True),
            (agent.hears.due_ns, agent.hears.sequence, 0, False),
            (caller.hears.due_ns, caller.hears.sequence, 1, False),
        )

    def _pass_many(self, before_ns: int) -> bool:
        """Let as many frames pass at once, in both directions, as are routine; whether any did."""
        agent, caller = self._agent, self._caller
        later_ns = max(agent.due_ns, caller.due_ns)
        frames = (before_ns - 1 - later_ns) // FRAME_NS + 1
        if frames < 2 or later_ns == NEVER_NS or agent.frame_ns != caller.frame_ns:
            return False
        up_ns = agent.hears.next_arrival_ns(caller.due_ns)
        down_ns = caller.hears.next_arrival_ns(agent.due_ns)
        if up_ns is None or down_ns is None or agent.silent or caller.silent:
            return False
        frames = (before_ns - 1 - max(later_ns, up_ns, down_ns)) // FRAME_NS + 1
        frames = min(frames, _MOST_FRAMES, agent.frames_alike, caller.frames_alike)
        frames = self.agent_patience(frames, caller.coming(frames)) if frames > 1 else 1
        frames = self.caller_patience(frames, agent.coming(frames)) if frames > 1 else 1
        if frames > 1:
            self._pass(frames, up_ns, down_ns)
        return frames > 1

    def _pass(self, frames: int, up_ns: int, down_ns: int) -> None:
        agent, caller = self._agent, self._caller
        later_ns = (frames - 1) * FRAME_NS
        said, said_of = caller.take_frames(frames)
        answered, answered_of = agent.take_frames(frames)
        at_agent = agent.hears.carry(said, frames, up_ns + later_ns)
        at_caller = caller.hears.carry(answered, frames, down_ns + later_ns)
        agent.pass_sent(answered, answered_of, frames)
        caller.pass_sent(said, said_of, frames)
        agent.pass_heard(at_agent, up_ns, frames)
        caller.pass_heard(at_caller, down_ns, frames)
