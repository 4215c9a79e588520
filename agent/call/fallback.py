"""What the caller hears when the API does not work: words, and an end in bounded time.

Prompts are made beforehand (`callerside-agent greet`) and cached like the greeting: to ask to hold
on, to take leave, to apologise, to say that it takes longer (`agent.call.prompts`). Where one is
not there, a tone stands for it.
"""

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import LoadPrompt, PromptLoaded, Timer
from callerside.agent.call.playout import Kind, Playout, Segment
from callerside.agent.call.prompts import PromptName, own_words, prompt_key
from callerside.agent.call.responses import Purpose, Response, Responses
from callerside.agent.call.termination import Termination
from callerside.agent.config.settings import CallSettings
from callerside.audio import silence, tone

_CONGESTION_HZ = 425.0
_CONGESTION_PULSE_MS = 250
"""ITU-T E.180: the tone of a network that cannot; three pulses of it."""
_HOPELESS = frozenset({"insufficient_quota"})
"""Reasons of a failed response that trying again does not cure."""
_OVERLOADED = frozenset({"inference_rate_limit_exceeded", "rate_limit_exceeded"})
"""Reasons that time cures."""
_WAIT_HZ = 440.0
_WAIT_TONE_MS = 300
_WAIT_DBFS = -32


class ApiFallback:
    """Failures of the API, as far as the caller notices them."""

    def __init__(
        self,
        context: CallContext,
        playout: Playout,
        responses: Responses,
        termination: Termination,
        settings: CallSettings,
        rate_hz: int,
    ) -> None:
        self._context = context
        self._playout = playout
        self._responses = responses
        self._termination = termination
        self._settings = settings
        self._rate_hz = rate_hz
        self._keys = {
            name: prompt_key(settings, text) for name, text in own_words(settings).items()
        }
        self._prompts: dict[PromptName, bytes] = {}
        self._failed_responses = 0
        self._retry_instructions: str | None = None
        self._waiting = False

    def call_received(self) -> None:
        """Fetch the prompts while nothing has failed."""
        for key in self._keys.values():
            self._context.add(LoadPrompt(key=key, rate_hz=self._rate_hz))

    def loaded(self, event: PromptLoaded) -> None:
        """The cache's answer; a damaged prompt is as good as none."""
        if event.pcm:
            found = [name for name, key in self._keys.items() if key == event.key]
            self._prompts |= dict.fromkeys(found, event.pcm)

    def waiting(self, *, for_session: bool) -> None:
        """The caller waits for a session, or does so no more."""
        if for_session is self._waiting:
            return
        self._waiting = for_session
        if for_session:
            self._context.set_timer(Timer.HOLD_DUE, self._settings.failure.hold_after_ms)
        else:
            self._context.cancel_timer(Timer.HOLD_DUE)

    def hold_on(self) -> None:
        """It takes so long that the caller must be informed."""
        self._say(PromptName.HOLD)

    def give_up(self, reason: str) -> None:
        """There is no hope: words, then the end or somebody else."""
        if self._termination.wanted:
            return
        transfer_to = self._settings.failure.transfer_to
        self._termination.after_last_word(reason, transfer_to=transfer_to)
        self._say(PromptName.HOLD if transfer_to else PromptName.FAREWELL)

    def say_farewell(self) -> None:
        """The model was to say goodbye, and does not: our own last words must do."""
        self._termination.goodbye_owed = False
        self._say(PromptName.FAREWELL)

    def transfer_failed(self) -> None:
        """Nobody else takes the caller: words, then the end."""
        self._termination.transfer_failed()
        self._say(PromptName.FAREWELL)

    def response_done(self, response: Response, status: str, reason: str | None) -> None:
        """A failed response is silence to the caller: say something, try once more, then end."""
        if status != "failed":
            self._failed_responses = 0
            return
        greeting = response.purpose is Purpose.GREETING
        instructions = self._settings.greeting.instructions if greeting else None
        self._try_again(f"response failed: {reason or 'no reason told'}", instructions, reason)

    def no_answer(self) -> None:
        """A turn was given up, which is silence to the caller, too: like a failed response."""
        self._try_again("no answer from the Realtime API", None)

    def retry(self) -> None:
        """Ask again for what failed, unless something else is being asked already."""
        if self._responses.expected:
            return
        self._responses.request(Purpose.TURN, self._retry_instructions, stands_in=True)

    def _try_again(self, what: str, instructions: str | None, reason: str | None = None) -> None:
        if self._termination.wanted:
            return  # it is not asked for again; whoever is owed a goodbye gets ours
        self._failed_responses += 1
        if self._failed_responses > self._settings.failure.retries or reason in _HOPELESS:
            self.give_up(what)
            return
        self._say(PromptName.HOLD)
        self._retry_instructions = instructions
        failure = self._settings.failure
        delay_ms = failure.rate_limit_delay_ms if reason in _OVERLOADED else failure.retry_delay_ms
        self._context.set_timer(Timer.RETRY_DUE, delay_ms)

    def apologise(self) -> None:
        """An answer is lost for good: ask the caller to say it again."""
        self._say(PromptName.APOLOGY)

    def say_wait(self, *, in_words: bool) -> None:
        """A function takes long."""
        words = self._prompts.get(PromptName.WAIT) if in_words else None
        soft = tone(_WAIT_HZ, _WAIT_TONE_MS, self._rate_hz, level_dbfs=_WAIT_DBFS)
        segment = Segment(
            kind=Kind.PROMPT, origin=PromptName.WAIT if words else "tone", gives_way=True
        )
        self._playout.play(segment, words or soft)

    def _say(self, name: PromptName) -> None:
        pcm = self._prompts.get(name)
        segment = Segment(
            kind=Kind.PROMPT,
            origin=name if pcm else "tone",
            interruptible=not self._termination.wanted,
        )
        self._playout.play(segment, pcm or self._congestion_tone())

    def _congestion_tone(self) -> bytes:
        pulse = tone(_CONGESTION_HZ, _CONGESTION_PULSE_MS, self._rate_hz, level_dbfs=-20)
        return (pulse + silence(_CONGESTION_PULSE_MS, self._rate_hz)) * 3
