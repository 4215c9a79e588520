"""Makes both ends of a line in memory tick: frame by frame, or many frames at once.

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
        clock: the run's time, whose metronome this becomes.
        agent: the media of the agent's end.
        caller: and of the caller's.
    """

    def __init__(self, clock: VirtualClock, agent: VirtualMedia, caller: VirtualMedia) -> None:
        self.agent_patience: Patience = impatient
        self.caller_patience: Patience = impatient
        self._clock = clock
        self._agent = agent
        self._caller = caller
        clock.metronome = self

    @property
    def due_ns(self) -> int:
        """See `Metronome.due_ns`."""
        return min(self._agent.due_ns, self._caller.due_ns)

    @property
    def sequence(self) -> int:
        """See `Metronome.sequence`."""
        return self._next.sequence

    @property
    def _next(self) -> VirtualMedia:
        agent, caller = self._agent, self._caller
        if agent.due_ns != caller.due_ns:
            return agent if agent.due_ns < caller.due_ns else caller
        return agent if agent.sequence < caller.sequence else caller

    def beat(self, before_ns: int) -> None:
        """See `Metronome.beat`."""
        frames = self._routine_frames(before_ns)
        if frames > 1:
            self._pass(frames)
        else:
            self._next.tick()

    def _routine_frames(self, before_ns: int) -> int:
        """How many frames may pass at once at both ends."""
        agent, caller = self._agent, self._caller
        later_ns = max(agent.due_ns, caller.due_ns)
        frames = (before_ns - 1 - later_ns) // FRAME_NS + 1
        if frames < 2 or later_ns == NEVER_NS or agent.due_ns == caller.due_ns:
            return 1
        frames = min(frames, _MOST_FRAMES, agent.frames_alike, caller.frames_alike)
        if frames < 2 or not self._in_step():
            return 1
        frames = self.agent_patience(frames, caller.coming(frames))
        return self.caller_patience(frames, agent.coming(frames)) if frames > 1 else 1

    def _in_step(self) -> bool:
        """Whether every tick brings exactly one frame to either end, and will go on so."""
        agent, caller = self._agent, self._caller
        if agent.silent or caller.silent or agent.frame_ns != caller.frame_ns:
            return False
        return agent.hears.in_step(caller.due_ns, agent.due_ns) and caller.hears.in_step(
            agent.due_ns, caller.due_ns
        )

    def _pass(self, frames: int) -> None:
        agent, caller = self._agent, self._caller
        first, second = (agent, caller) if agent.due_ns < caller.due_ns else (caller, agent)
        sent = {media: media.take_frames(frames) for media in (first, second)}
        heard = {media: media.sends.carry(sent[media][0], frames) for media in (first, second)}
        first.pass_frames(*sent[first], heard[second], frames)
        second.pass_frames(*sent[second], heard[first], frames)
