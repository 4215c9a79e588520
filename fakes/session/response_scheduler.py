"""Who speaks: the responses of a session, and which reply of the script each says."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from callerside.fakes.script.prepared import PreparedItem, PreparedReply
from callerside.fakes.script.reply import Reply
from callerside.fakes.session.config import ResponseConfig, dumped
from callerside.fakes.session.context import SessionState
from callerside.fakes.session.context_window import ContextWindow, Reads, TooLongError
from callerside.fakes.session.fault_injector import FaultInjector
from callerside.fakes.session.items import read_input
from callerside.fakes.session.mcp import McpServers
from callerside.fakes.session.refusals import RequestError
from callerside.fakes.session.response import TOO_LONG, CancelReason, Response
from callerside.fakes.session.response_plan import Trigger, make_plan, specify
from callerside.fakes.session.schema import ResponseFields

_RATE_LIMITS_AFTER_MS = 30  # 29 to 33 as recorded
MOST_UNASKED = 100
"""Replies one after another (`next_after_ms`) that nobody has asked for: a default reply with one
behind it would never end."""
_MAX_RESPONSES = 16
_LIMITS = (("requests", 5000), ("tokens", 800_000))


class ResponseScheduler:
    """One response at a time in the conversation; others beside it, out of band."""

    def __init__(
        self,
        state: SessionState,
        fault_injector: FaultInjector,
        on_done: Callable[[Response], None],
    ) -> None:
        """`on_done` is called for every response of the conversation that has ended."""
        self._state = state
        self._fault_injector = fault_injector
        self._on_done = on_done
        self._responses: dict[str, Response] = {}
        self._active: Response | None = None
        self._answered_turns = 0
        self._next_replies: deque[PreparedReply] = deque()
        """What the next turns are answered by, in place of the script's."""
        self._unasked = 0
        """Replies that have followed one another by themselves."""
        self._turn_waits = False
        self._window = ContextWindow(state)
        self.mcp = McpServers(state)
        """The tools that the server itself calls."""

    @property
    def is_busy(self) -> bool:
        """Whether a response of the conversation runs."""
        return self._active is not None

    @property
    def upcoming(self) -> Reply:
        """What answers the turn that is going on."""
        if self._next_replies:
            return self._next_replies[0].reply
        return self._state.prepared.reply(self._answered_turns + 1).reply

    @property
    def answered_turns(self) -> int:
        """How many replies have been begun."""
        return self._answered_turns

    @property
    def replies_waiting(self) -> int:
        """How many turns will be answered by what was given for them."""
        return len(self._next_replies)

    def say_next(self, replies: Sequence[PreparedReply]) -> None:
        """Answer the next turns by these, in place of the script's."""
        self._next_replies.extend(replies)

    def request(self, fields: ResponseFields | None) -> None:
        """The client asks for a response.

        Raises:
            RequestError: `conversation_already_has_active_response`, there are too many, or what it
                is to read (`input`) cannot be read.
        """
        active = self._active
        if self._state.config.only_transcribes:
            raise RequestError("no_responses")
        if active is not None and (fields is None or fields.conversation == "auto"):
            raise RequestError("response_is_active", response=active.id)
        if len(self._responses) >= _MAX_RESPONSES:
            raise RequestError("too_many_responses")
        self._state.check_tool_choice(fields)
        self._check_voice(fields)
        self._state.prompted(fields)
        self._respond(fields, "client")

    def _check_voice(self, fields: ResponseFields | None) -> None:
        """It is the same in the whole session, once the assistant has spoken."""
        given = {} if fields is None else fields.model_dump(exclude_unset=True)
        voice = ((given.get("audio") or {}).get("output") or {}).get("voice")
        has_spoken = self._state.conversation.has_assistant_audio
        if has_spoken and voice not in (None, self._state.config.voice):
            self._state.refuse(RequestError("voice_is_fixed"))

    def answer(self, trigger: Trigger) -> None:
        """A turn has ended: answer it, or do so once the response that it did not stop is done."""
        if self._active is None:
            self._respond(None, trigger)
        else:
            self._turn_waits = True

    def pass_over(self) -> None:
        """A turn has ended that nobody answers: what is heard next is of the next reply."""
        self._take_reply()

    def interrupt(self) -> None:
        """The user speaks: stop what is being said."""
        self._turn_waits = False
        self._state.out.cancel_timer("next_response")
        if self._active is not None:
            self._cancel(self._active, "turn_detected")

    def cancel(self, response_id: str | None) -> None:
        """The client cancels a response.

        Raises:
            RequestError: `response_cancel_not_active`.
        """
        response = self._active if response_id is None else self._responses.get(response_id)
        if response is None:
            raise RequestError("nothing_to_cancel")
        self._cancel(response, "client_cancelled")

    def advance(self, response_id: str) -> None:
        """The timer of a response is due."""
        response = self._responses.get(response_id)
        if response is not None:
            self._advance(response)

    def speak_unasked(self) -> None:
        """The timer `next_response` is due: say the next reply, unless something else is said."""
        if self._active is None:
            self._respond(None, "unasked")

    def send_rate_limits(self) -> None:
        """The timer `rate_limits` of a response is due."""
        self._state.out.send(
            "rate_limits.updated",
            rate_limits=[
                {"name": name, "limit": limit, "remaining": limit - 1, "reset_seconds": 0.01}
                for name, limit in _LIMITS
            ],
        )

    def _respond(self, fields: ResponseFields | None, trigger: Trigger) -> None:
        state = self._state
        self._unasked = self._unasked + 1 if trigger == "unasked" else 0
        config = ResponseConfig(state.config, fields)
        reads, is_too_long = self._read(fields)
        own = None if fields is None or fields.tools is None else dumped(fields.tools)
        self.mcp.follow_response(own)
        prepared, name = self._choose(in_conversation=config.in_conversation)
        spec = specify(prepared, name, state.timing, state.rng)
        spec = self._fault_injector.distort(spec)
        if is_too_long:
            spec = replace(spec, fails_with=TOO_LONG)
        response = Response(
            state,
            config,
            spec,
            trigger,
            reads=reads,
            mcp=self.mcp,
            on_voice=lambda: self._fault_injector.reached(name),
        )
        is_made = spec.prepared.reply.sends_only != "nothing"
        if is_made:
            self._responses[response.id] = response
        if is_made and config.in_conversation:
            self._active = response
        audio_format = None if config.modalities == ["text"] else config.output_format
        limit = config.max_output_tokens
        plan = make_plan(
            spec,
            trigger,
            audio_format,
            state.timing,
            state.rng,
            max_tokens=None if limit == "inf" else limit,
        )
        response.start(plan, state.out.now_ns)
        self._advance(response)

    def _read(self, fields: ResponseFields | None) -> tuple[Reads, bool]:
        """What a response reads, and whether that is too much."""
        state = self._state
        given = fields or ResponseFields()
        tools = None if given.tools is None else dumped(given.tools)
        try:
            if given.input is not None:
                items = read_input(given.input, state)
                return self._window.read_instead(items, given.instructions, tools), False
            return self._window.read(given.instructions, tools), False
        except TooLongError:
            return Reads(0, 0), True

    def _choose(self, *, in_conversation: bool) -> tuple[PreparedReply, str]:
        prepared = self._state.prepared
        if not in_conversation:
            return prepared.default, "out_of_band"
        approved = self.mcp.take_approved()
        if approved is not None:  # what the reply before has asked about
            reply = Reply(mcp_call=approved)
            items = tuple(PreparedItem(item, b"", "") for item in reply.parts)
            number = self._answered_turns
            return PreparedReply(reply, items), f"reply {number}" if number else "greeting"
        conversation = self._state.conversation
        calls = any(item.function_call or item.mcp_call for item in prepared.greeting.reply.parts)
        if not (conversation.has_user_item or (calls and conversation.has_result)):
            return prepared.greeting, "greeting"
        return self._take_reply(), f"reply {self._answered_turns}"

    def _take_reply(self) -> PreparedReply:
        """What is said to the turn that has ended."""
        self._answered_turns += 1
        if self._next_replies:
            return self._next_replies.popleft()
        return self._state.prepared.reply(self._answered_turns)

    def _advance(self, response: Response) -> None:
        response.advance(self._state.out.now_ns)
        if not response.running:
            self._retire(response)
        elif response.due_ns is not None:
            self._state.out.set_timer(f"response:{response.id}", response.due_ns)

    def _cancel(self, response: Response, reason: CancelReason) -> None:
        self._state.out.cancel_timer(f"response:{response.id}")
        response.cancel(reason)
        self._retire(response)

    def _retire(self, response: Response) -> None:
        del self._responses[response.id]
        due_ns = self._state.in_ms(_RATE_LIMITS_AFTER_MS)
        self._state.out.set_timer(f"rate_limits:{response.id}", due_ns)
        if response is not self._active:
            return
        self._active = None
        self._window.wrote(response.items)
        self._on_done(response)
        if self._turn_waits:
            self._turn_waits = False
            self._respond(None, "vad")
            return
        next_after_ms = response.spec.prepared.reply.next_after_ms
        if next_after_ms is None or response.status == "cancelled":
            return
        if self._unasked >= MOST_UNASKED:
            self._state.out.mark("unasked_bounded", most=MOST_UNASKED)
            return
        self._state.out.set_timer("next_response", self._state.in_ms(next_after_ms))
