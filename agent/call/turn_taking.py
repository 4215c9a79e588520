"""Turn-taking: whose turn it is, who ends it, and what a barge-in does.

Three policies (`TurnSettings.policy`). Under `server` the API detects the turn, commits it and
answers; under `client` we commit on its `speech_stopped`; under `local` its turn detection is off,
and our own voice activity detection ends the turn, commits, and asks for the answer. A watchdog
stands behind each step that the server might leave out.
"""

from typing import assert_never

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import Timer
from callerside.agent.call.playout import Playout, Segment
from callerside.agent.call.responses import Purpose, Responses
from callerside.agent.call.states import StateChart, Trigger
from callerside.agent.call.uplink import Uplink
from callerside.agent.call.vad import VoiceDetector, VoiceStarted, VoiceStopped
from callerside.agent.config.settings import CallSettings
from callerside.agent.realtime.events import Committed, SpeechStarted, SpeechStopped, Truncated
from callerside.agent.realtime.requests import commit, truncate
from callerside.clock import NS_PER_S

_COMMIT_REPORTED_NS = 5 * NS_PER_S
"""For so long a server may report what became of a commit of ours: a refusal takes it a second."""

_SPEECH_LIMIT_MS = 120_000
"""So long, at least, may a caller talk without a pause; then the end of it was not reported."""


class TurnTaking:
    """The caller's turns, from the first sound to the answer's creation."""

    def __init__(
        self,
        context: CallContext,
        chart: StateChart,
        playout: Playout,
        responses: Responses,
        uplink: Uplink,
        settings: CallSettings,
    ) -> None:
        self._context = context
        self._chart = chart
        self._playout = playout
        self._responses = responses
        self._uplink = uplink
        self._settings = settings.turns
        silence_ms = settings.limits.silence_ms
        self._speech_limit_ms = silence_ms and max(silence_ms, _SPEECH_LIMIT_MS)
        self._commit_id: str | None = None
        self._commits: dict[str, int] = {}
        """Commits of ours that the server may still report on, and when they were sent."""
        self._retried = False
        self._started_item: str | None = None
        self._overtaken_item: str | None = None
        """Of this turn the stop came before the start."""
        self._committed_item: str | None = None
        """The last: its stop may still come."""
        self._detector = VoiceDetector(settings.turns.local_vad)
        self._local_turns = 0
        self.answer_due = False
        """A turn is committed, and the server has not begun to answer it."""
        self.speaking = False
        """The caller is heard speaking."""
        self.committing = False
        """The caller has stopped, and the turn is not committed yet."""

    def lose_session(self) -> bool:
        """The session is gone, and with it the turn that it was hearing.

        Returns whether the caller still waits for words that this session owed.
        """
        owed = self.answer_due or self.committing
        self._context.cancel_timer(Timer.SPEECH_LIMIT)
        self._context.cancel_timer(Timer.COMMIT_LIMIT)
        self._detector.reset()
        self.speaking = False
        self.committing = False
        self.answer_due = False
        self._commit_id = None
        self._commits.clear()
        return owed

    def speech_started(self, event: SpeechStarted) -> None:
        """The server, or our own ear, hears the caller speak: a barge-in if we are speaking too."""
        fields = {"item": event.item_id, "audio_start_ms": event.audio_start_ms}
        self._context.mark("speech_started", fields)
        if self.committing and event.item_id == self._overtaken_item:
            self._barge_in()
            return  # its stop has come before it: the caller speaks no more
        self._started_item = event.item_id
        self._context.cancel_timer(Timer.COMMIT_LIMIT)
        if not self._responses.expected:
            self._context.cancel_timer(Timer.RESPONSE_LIMIT)
        self.speaking = True
        self.committing = False
        self._watch(Timer.SPEECH_LIMIT, self._speech_limit_ms)
        self._barge_in()
        self._chart.move(Trigger.SPEECH_STARTED)

    def speech_stopped(self, event: SpeechStopped) -> None:
        """The caller has stopped: the turn is to be committed, by the server or by us."""
        fields = {"item": event.item_id, "audio_end_ms": event.audio_end_ms}
        self._context.mark("speech_stopped", fields)
        self._context.cancel_timer(Timer.SPEECH_LIMIT)
        self._overtaken_item = event.item_id if event.item_id != self._started_item else None
        if not self.speaking and event.item_id == self._committed_item:
            return  # the turn is over, and may be answered already
        self.speaking = False
        self.committing = event.item_id != self._committed_item
        self._retried = False
        self._chart.move(Trigger.SPEECH_STOPPED)
        if not self.committing:  # its commit has come before it
            self._chart.move(Trigger.COMMITTED)
            return
        if self._settings.policy != "server":
            self._commit()
        self._watch(Timer.COMMIT_LIMIT, self._settings.watchdogs.commit_ms)
        if self._settings.policy == "local":
            # Not after `committed`: events are handled in order, and a round trip is audible.
            self._responses.request(Purpose.TURN)

    def committed(self, event: Committed) -> None:
        """The turn is an item of the conversation; the answer comes next.

        Where the server commits too, a commit of ours comes to a turn that is committed already. It
        makes an item of what was heard since, or an error; neither is a turn, and nobody answers.
        """
        self._context.mark("committed", {"item": event.item_id})
        self._committed_item = event.item_id
        if not self.committing and self._is_ours():
            return
        self._context.cancel_timer(Timer.COMMIT_LIMIT)
        self.committing = False
        self._commit_id = None
        self._retried = False
        self._chart.move(Trigger.COMMITTED)
        if self._settings.policy == "local":
            return  # asked for already
        if self._settings.vad.create_response:
            self.answer_due = True
            self._watch(Timer.RESPONSE_LIMIT, self._settings.watchdogs.response_ms)
        else:
            self._responses.request(Purpose.TURN)

    def answered(self, *, of_its_own: bool) -> None:
        """A response was created; the server's own answers a turn, even without a commit.

        Where the server ends turns it answers none that goes on: one that is still heard here has
        ended, and the events that said so were lost.
        """
        if of_its_own and not self.answer_due:
            self._context.cancel_timer(Timer.COMMIT_LIMIT)
            self.committing = False
            if self.speaking and self._settings.policy == "server":
                self._context.cancel_timer(Timer.SPEECH_LIMIT)
                self.speaking = False
                self._committed_item = self._started_item
                self._chart.move(Trigger.SPEECH_STOPPED)
                self._chart.move(Trigger.COMMITTED)
        self.answer_due = False

    def spoken_over(self) -> None:
        """An answer begins while the caller speaks: what it answers is not said to its end yet.

        The server stops one at the beginning of speech alone, and that was before.
        """
        if self.speaking and self._settings.barge_in:
            self._interrupt(heard_by_server=False)

    def interrupt(self) -> None:
        """The caller wants the agent to stop, by something that the server does not hear."""
        self._interrupt(heard_by_server=False)

    def hear(self, pcm: bytes) -> bool:
        """A frame of the caller's voice, under the policy `local`: our own ear judges it.

        Returns whether a turn began or ended with it.
        """
        heard = self._detector.feed(pcm)
        match heard:
            case None:
                return False
            case VoiceStarted(at_ms=at_ms):
                self._local_turns += 1
                self.speech_started(SpeechStarted(item_id=self._local_item, audio_start_ms=at_ms))
            case VoiceStopped(at_ms=at_ms):
                self.speech_stopped(SpeechStopped(item_id=self._local_item, audio_end_ms=at_ms))
            case unknown:
                assert_never(unknown)
        return True

    def speech_limit(self) -> None:
        """No `speech_stopped` came: listen again, where silence has a limit.

        A stop that comes after all is a turn like any other.
        """
        self._context.mark("watchdog_fired", {"what": Timer.SPEECH_LIMIT.value})
        self.speaking = False
        self._chart.move(Trigger.SPEECH_STOPPED)
        self.dismiss()

    def commit_limit(self) -> bool:
        """No `committed` came: commit ourselves; the second time, give the turn up.

        Returns whether it was given up, and the caller waits for words that will not come.
        """
        self._context.mark("watchdog_fired", {"what": Timer.COMMIT_LIMIT.value})
        if self._retried:
            self.dismiss()
            return (
                not self._responses.expected
            )  # else words may come yet, and their wait is watched
        self._retried = True
        self._commit()
        self._watch(Timer.COMMIT_LIMIT, self._settings.watchdogs.commit_ms)
        return False

    def wait_on(self) -> None:
        """Another response runs, and a session makes one at a time: the answer comes after it."""
        self._watch(Timer.RESPONSE_LIMIT, self._settings.watchdogs.response_ms)

    def response_limit(self) -> bool:
        """No `response.created` came: ask for it; if we have asked already, give the turn up.

        Returns whether it was given up, and the caller waits for words that will not come.
        """
        self._context.mark("watchdog_fired", {"what": Timer.RESPONSE_LIMIT.value})
        if self._responses.abandon_request() or self._retried:
            waits = not self.committing and not self.speaking
            if not self.committing:
                self.dismiss()
            return waits
        self._retried = True
        self._responses.request(Purpose.TURN, stands_in=True)
        return False

    def commit_refused(self, event_id: str | None) -> bool:
        """An `error` names an event of ours: whether it was the commit that we wait for."""
        if event_id is None or event_id not in self._commits:
            return False
        del self._commits[event_id]
        if self.committing and event_id == self._commit_id:
            self.dismiss()
        return True

    def dismiss(self) -> None:
        """What sounded like a turn leads to nothing."""
        self._context.cancel_timer(Timer.COMMIT_LIMIT)
        if not self._responses.pending:
            self._context.cancel_timer(Timer.RESPONSE_LIMIT)
        self.committing = False
        self.answer_due = False
        self._commit_id = None
        self._chart.move(Trigger.SPEECH_DISMISSED)

    def cleared(self, segments: list[Segment]) -> None:
        """Playout stopped: truncate to what the caller heard of each item that it knows."""
        for segment in segments:
            if not segment.item or segment.forgotten or segment.gives_way:
                continue
            if segment.played and not segment.whole:
                # Never more than has arrived: the server refuses what is past the audio it sent.
                heard_ms = int(self._playout.ms(min(segment.played, segment.queued)))
                self._context.send(truncate(segment.item, heard_ms))
                fields = {"item": segment.item, "audio_end_ms": heard_ms}
                self._context.mark("truncate_sent", fields)

    def truncated(self, event: Truncated) -> None:
        """The server has cut the item."""
        fields = {"item": event.item_id, "audio_end_ms": event.audio_end_ms}
        self._context.mark("truncated", fields)

    @property
    def _local_item(self) -> str:
        """The server names a turn's item only when it is committed."""
        return f"local_{self._local_turns}"

    def _barge_in(self) -> None:
        if self._settings.barge_in:
            self._interrupt(heard_by_server=self._settings.policy != "local")

    def _interrupt(self, *, heard_by_server: bool) -> None:
        self._responses.interrupt(heard_by_server=heard_by_server)
        self._playout.interrupt()

    def _commit(self) -> None:
        self._uplink.flush()
        self._commit_id = self._context.send(commit())
        self._forget_commits()
        self._commits[self._commit_id] = self._context.now_ns
        self._context.mark("commit_sent")

    def _is_ours(self) -> bool:
        """Whether a commit that no turn waits for is one of ours."""
        self._forget_commits()
        if not self._commits:
            return False
        del self._commits[next(iter(self._commits))]
        return True

    def _forget_commits(self) -> None:
        since_ns = self._context.now_ns - _COMMIT_REPORTED_NS
        self._commits = {one: sent for one, sent in self._commits.items() if sent > since_ns}

    def _watch(self, timer: Timer, limit_ms: int) -> None:
        if limit_ms:
            self._context.set_timer(timer, limit_ms)
