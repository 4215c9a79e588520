"""What callers are told before they are recorded: nothing is recorded until they have heard it.

It is a prompt, made beforehand and cached like the greeting (`callerside-agent greet`, or at the
start), and nobody's voice stops it. A call for which it is not there is not recorded.
"""

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import BeginRecording, LoadPrompt, PromptLoaded
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.call.prompts import prompt_key
from callerside.agent.config.settings import CallSettings

ORIGIN = "announcement"
"""Of the prompt, in its marks."""


class Announcement:
    """Of one call's recording."""

    def __init__(
        self, context: CallContext, playout: Playout, settings: CallSettings, rate_hz: int
    ) -> None:
        self._context = context
        self._playout = playout
        self._rate_hz = rate_hz
        words = settings.recordings.announced
        self._key = None if words is None else prompt_key(settings, words)
        self._pcm: bytes | None = None
        self._media_up = False
        self._segment: Segment | None = None

    def call_received(self) -> None:
        """Look it up while the telephone is being answered."""
        if self._key is not None:
            self._context.add(LoadPrompt(key=self._key, rate_hz=self._rate_hz))

    def loaded(self, event: PromptLoaded) -> None:
        """The cache's answer."""
        if self._key is None or event.key != self._key:
            return
        self._key = None
        if event.pcm:
            self._pcm = event.pcm
            self._play()
        else:
            self._withhold(event.damage or "the announcement is not cached")

    def media_up(self) -> None:
        """The caller can be told."""
        self._media_up = True
        self._play()

    def segment_over(self, segment: Segment) -> None:
        """A segment was heard to its end, or was cut."""
        if segment is not self._segment:
            return
        self._segment = None
        if segment.whole and not segment.cut_short:
            self._context.add(BeginRecording())
        else:
            self._withhold("the announcement was not heard to its end")

    def _play(self) -> None:
        if self._media_up and self._pcm is not None:
            pcm, self._pcm = self._pcm, None
            self._segment = Segment(kind=Kind.PROMPT, origin=ORIGIN, interruptible=False)
            self._playout.play(self._segment, pcm)

    def _withhold(self, reason: str) -> None:
        self._context.mark("recording_withheld", {"reason": reason})
