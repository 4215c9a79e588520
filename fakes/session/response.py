"""One response: performs its plan, keeps its state, and can be cancelled in the middle."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, assert_never

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.fakes.script.reply import FunctionCall, McpCall
from callerside.fakes.session.config import ResponseConfig
from callerside.fakes.session.context import (
    OBFUSCATED_LENGTH,
    SessionState,
    marked_arguments,
)
from callerside.fakes.session.context_window import Reads
from callerside.fakes.session.conversation import MS_PER_OUTPUT_TOKEN, Item, text_tokens
from callerside.fakes.session.doubts import why_not_so, why_not_without_a_call
from callerside.fakes.session.interface import KeepSent
from callerside.fakes.session.mcp import McpServers
from callerside.fakes.session.response_plan import (
    AddItem,
    AddPart,
    Arguments,
    Audio,
    Begin,
    Cancel,
    Complete,
    End,
    EndAudio,
    EndItem,
    Fail,
    Plan,
    ResponseSpec,
    Step,
    Stop,
    Trigger,
    Word,
)

Status = Literal["in_progress", "completed", "cancelled", "failed", "incomplete"]
CancelReason = Literal["turn_detected", "client_cancelled"]

_MOST_STEPS_AT_ONCE = 256
"""Of one response, before others have their turn: deltas may be due faster than they are made."""
TOO_LONG = "context_length_exceeded"
"""How a response fails that has too much to read (INF)."""
_CALLS = ("function_call", "mcp_call", "mcp_approval_request")
_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"
_FAILURES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing.",
    "inference_rate_limit_exceeded": "Rate limit reached. Please try again later.",
    TOO_LONG: "The conversation exceeds the model's input token limit.",
}


class Response:
    """A response that runs, or has run."""

    def __init__(
        self,
        state: SessionState,
        config: ResponseConfig,
        spec: ResponseSpec,
        trigger: Trigger,
        *,
        reads: Reads,
        mcp: McpServers,
        on_voice: Callable[[], None],
    ) -> None:
        """`reads` is what it reads, `mcp` makes the calls of MCP tools.

        `on_voice` is called after its first audio, text or arguments.
        """
        self.id = state.out.ids.new("resp")
        self.status: Status = "in_progress"
        self.sent_ms = 0.0
        """Audio sent so far."""
        self.spec = spec
        self.trigger = trigger
        self._on_voice = on_voice
        self._has_voice = False
        self._can_be_heard = False
        self._state = state
        self._out = state.out
        self._conversation = state.conversation
        self._config = config
        self._steps: deque[tuple[int, Step]] = deque()
        self._late_ms = 0.0
        self._begun = False
        self._items: list[Item] = []
        self._item_open = False
        self._part: Literal["audio", "text"] | None = None
        self._audio_open = False
        self._text = ""
        """Of the part that is open."""
        self._text_tokens = 0
        """Of the items that are whole."""
        self._reads = reads
        self._mcp = mcp
        self._mcp_call: McpCall | None = None
        """What the item that is open calls."""

    @property
    def items(self) -> Sequence[Item]:
        """What it has said so far."""
        return self._items

    @property
    def in_conversation(self) -> bool:
        """False for one that is out of band (`conversation: none`)."""
        return self._config.in_conversation

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.status == "in_progress"

    @property
    def due_ns(self) -> int | None:
        """When its next step is due; None when nothing is left to do."""
        return self._steps[0][0] if self._steps else None

    def start(self, plan: Plan, now_ns: int) -> None:
        """Take the plan on, and put it on the timeline."""
        text = self.spec.prepared.transcript
        self._out.mark(
            "response_planned",
            response=self.id,
            think_ms=self.spec.think_ms,
            delta_ms=self.spec.delta_ms,
            pace=self.spec.pace,
            reply=self.spec.name,
            trigger=self.trigger,
            **({"text": text} if text else {}),
        )
        if self.spec.prepared.reply.sends_only is not None:
            self._out.mark("response_withheld", response=self.id)
        self._steps = deque((now_ns + ms_to_ns(after_ms), step) for after_ms, step in plan)

    def advance(self, now_ns: int) -> None:
        """Do what is due, the oldest first; of very much, not all: `due_ns` has passed then."""
        for _ in range(_MOST_STEPS_AT_ONCE):
            if not self._steps or self._steps[0][0] > now_ns:
                break
            due_ns, step = self._steps.popleft()
            self._late_ms = ns_to_ms(now_ns - due_ns)
            self._do(step)

    def cancel(self, reason: CancelReason) -> None:
        """Stop it where it is; what has begun is ended properly."""
        self._steps.clear()
        if not self._begun:
            self._begin()
        self._end_item("incomplete")
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    def _do(self, step: Step) -> None:
        match step:
            case Audio() | Word() | Arguments():
                self._speak(step)
            case Begin():
                self._begin()
            case AddItem():
                self._add_item(step)
            case AddPart(kind):
                self._add_part(kind)
            case EndAudio():
                self._end_audio()
            case EndItem():
                self._end_item("completed")
            case Complete() | Stop() | Cancel() | Fail():
                self._end(step)
            case unknown:
                assert_never(unknown)

    def _end(self, step: End) -> None:
        """The response ends as its plan says."""
        self._end_item("completed" if isinstance(step, Complete) else "incomplete")
        match step:
            case Complete():
                self._finish("completed", None)
                self._doubt_silence()
            case Stop(reason):
                self._finish("incomplete", {"type": "incomplete", "reason": reason})
            case Cancel(reason):
                details = {"type": "cancelled", "reason": reason}
                self._finish("cancelled", details, by_script=True)
            case Fail(code):
                message = _FAILURES.get(code, _SERVER_ERROR)
                error = {"type": "server_error", "code": code, "message": message}
                self._finish("failed", {"type": "failed", "error": error})
            case unknown:
                assert_never(unknown)

    def _speak(self, step: Audio | Word | Arguments) -> None:
        match step:
            case Audio():
                self._send_audio(step)
            case Arguments(text):
                self._send_arguments(text)
            case Word(text):
                self._send_word(text)
                if self._part == "audio":
                    return  # the transcript runs ahead of the voice
            case unknown:
                assert_never(unknown)
        if not self._has_voice:
            self._has_voice = True
            self._on_voice()

    def _begin(self) -> None:
        self._begun = True
        self._out.send("response.created", response=self._snapshot(None, None))
        self._out.mark("response_created", response=self.id)

    def _add_item(self, step: AddItem) -> None:
        data: dict[str, Any] = {"id": self._out.ids.new("item")}
        self._mcp_call = step.mcp
        if step.mcp is not None:
            data |= self._mcp_data(step.mcp)
        elif step.call is not None:
            self._doubt(step.call)
            data |= {
                "type": "function_call",
                "status": "in_progress",
                "name": step.call.name,
                "call_id": f"call_{self._out.ids.letters(16)}",
                "arguments": "",
            }
        else:
            data |= {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
            data |= {"phase": step.phase} if step.phase else {}
        item = Item(data, has_begun=False)
        self._items.append(item)
        self._item_open = True
        self._out.send(
            "response.output_item.added",
            response_id=self.id,
            output_index=self._index,
            item=item.snapshot(),
        )
        if self.in_conversation:
            previous = self._conversation.add(item)
            self._out.send(
                "conversation.item.added", previous_item_id=previous, item=item.snapshot()
            )

    def _mcp_data(self, call: McpCall) -> dict[str, Any]:
        """A call of an MCP tool, or the question whether it may be made."""
        data = {"server_label": call.server, "name": call.name}
        if (why := self._mcp.why_undeclared(call)) is not None:
            self._out.mark("call_undeclared", name=f"{call.server}.{call.name}", why=why)
        if self._mcp.needs_approval(call):
            return data | {"type": "mcp_approval_request", "arguments": call.arguments_text}
        return data | {
            "type": "mcp_call",
            "arguments": "",
            "approval_request_id": self._mcp.approval_of(call),
            "output": None,
            "error": None,
        }

    def _add_part(self, kind: Literal["audio", "text"]) -> None:
        self._part = kind
        self._text = ""
        self._audio_open = kind == "audio"
        field = "text" if kind == "text" else "transcript"
        self._current.data["content"] = [{"type": f"output_{kind}", field: ""}]
        self._send("response.content_part.added", part={"type": kind, field: ""})

    def _send_word(self, text: str) -> None:
        self._text += text
        name = "output_text" if self._part == "text" else "output_audio_transcript"
        self._send(
            f"response.{name}.delta",
            delta=text,
            obfuscation=self._out.ids.letters(OBFUSCATED_LENGTH - len(text)),
        )

    def _send_audio(self, audio: Audio) -> None:
        self._send("response.output_audio.delta", delta=audio.wire)
        self.sent_ms += audio.length_ms
        self._can_be_heard = self._can_be_heard or audio.can_be_heard
        self._state.sent_samples += audio.samples
        self._current.audio_ms += audio.length_ms
        self._current.has_begun = True
        self._out.mark_sent(
            "delta_sent",
            response=self.id,
            item=self._current.id,
            samples=audio.samples,
            total_samples=self._state.sent_samples,
            late_ms=round(self._late_ms, 3),
        )
        if self._state.observation.keep_audio:
            audio_format = self._config.output_format
            pcm = audio_format.decode(audio.wire)
            self._out.delivery.push(KeepSent(pcm, audio_format.rate_hz))

    def _send_arguments(self, text: str) -> None:
        item = self._current
        kind = item.data["type"]
        if kind == "mcp_approval_request":
            return  # it is told at once
        item.data["arguments"] += text
        called = {"call_id": item.data["call_id"]} if kind == "function_call" else {}
        self._out.send(
            f"response.{kind}_arguments.delta",
            response_id=self.id,
            item_id=item.id,
            output_index=self._index,
            **called,
            delta=text,
            obfuscation=self._out.ids.letters(OBFUSCATED_LENGTH - len(text)),
        )

    def _end_item(self, status: Literal["completed", "incomplete"]) -> None:
        if not self._item_open:
            return
        self._item_open = False
        item = self._current
        kind = item.data["type"]
        if kind == "function_call" and status == "completed":
            self._end_call(item)
        made = self._mcp_call if kind == "mcp_call" and status == "completed" else None
        if made is not None:
            self._end_mcp_call(item, made)
        self._end_audio()
        self._end_part()
        self._text_tokens += text_tokens(self._text or item.data.get("arguments", ""))
        self._text = ""
        if "status" in item.data:
            item.data["status"] = status
        if self.in_conversation and made is None:  # done when it has a result
            self._out.send(
                "conversation.item.done",
                previous_item_id=self._conversation.previous_of_done(item.id),
                item=item.snapshot(),
            )
        self._out.send(
            "response.output_item.done",
            response_id=self.id,
            output_index=self._index,
            item=item.snapshot(),
        )
        if kind == "mcp_approval_request" and self._mcp_call is not None:
            self._mcp.ask(item.id, self._mcp_call)

    def _doubt(self, call: FunctionCall) -> None:
        """A script may call what no model would: what is not there, or may not be called so.

        Told, and done: to see what the client makes of it may be why the script does it.
        """
        why = why_not_so(call, self._config.functions, self._config.tool_choice)
        if why is not None:
            self._out.mark("call_undeclared", name=call.name, why=why)

    def _doubt_silence(self) -> None:
        """It has called nothing, though the client has asked for a call: no model would."""
        why = why_not_without_a_call(self._config.tool_choice)
        called = any(item.data["type"] in _CALLS for item in self._items)
        if why is not None and not called:
            self._out.mark("call_missing", response=self.id, why=why)

    def _end_call(self, item: Item) -> None:
        self._out.send(
            "response.function_call_arguments.done",
            response_id=self.id,
            item_id=item.id,
            output_index=self._index,
            call_id=item.data["call_id"],
            name=item.data["name"],
            arguments=item.data["arguments"],
        )
        self._out.mark(
            "function_called",
            name=item.data["name"],
            arguments=marked_arguments(item.data["arguments"]),
        )

    def _end_mcp_call(self, item: Item, call: McpCall) -> None:
        self._out.send(
            "response.mcp_call_arguments.done",
            response_id=self.id,
            item_id=item.id,
            output_index=self._index,
            arguments=item.data["arguments"],
        )
        self._mcp.begin(item, call, self._index, in_conversation=self.in_conversation)

    def _end_audio(self) -> None:
        if self._audio_open:
            self._audio_open = False
            self._send("response.output_audio.done")

    def _end_part(self) -> None:
        if self._part is None:
            return
        part, self._part = self._part, None
        field = "text" if part == "text" else "transcript"
        if part == "text":
            self._send("response.output_text.done", text=self._text)
        else:
            self._send("response.output_audio_transcript.done", transcript=self._text)
        content = self._current.data["content"][0]
        if field in content:  # a truncation may have removed it
            content[field] = self._text
        self._send("response.content_part.done", part={"type": part, field: self._text})

    def _finish(self, status: Status, details: dict[str, Any] | None, **of_mark: object) -> None:
        self.status = status
        self._out.send("response.done", response=self._snapshot(details, self._usage()))
        reason = (
            {} if details is None else {"reason": details.get("reason") or details["error"]["code"]}
        )
        if self.sent_ms and not self._can_be_heard:
            of_mark["inaudible"] = True
        self._out.mark("response_done", response=self.id, status=status, **reason, **of_mark)
        self._mcp.responded(item.id for item in self._items)

    @property
    def _current(self) -> Item:
        return self._items[-1]  # a plan adds an item before all else

    @property
    def _index(self) -> int:
        """`output_index` of the item that is said."""
        return len(self._items) - 1

    def _send(self, event_type: str, **fields: Any) -> None:
        self._out.send(
            event_type,
            response_id=self.id,
            item_id=self._current.id,
            output_index=self._index,
            content_index=0,
            **fields,
        )

    def _snapshot(
        self, details: dict[str, Any] | None, usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": details,
            "output": [item.snapshot() for item in self._items],
            "conversation_id": self._conversation.id if self.in_conversation else None,
            "output_modalities": list(self._config.modalities),
            "max_output_tokens": self._config.max_output_tokens,
            "audio": {"output": dict(self._config.output)},
            "usage": usage,
            "metadata": self._config.metadata,
        }

    def _usage(self) -> dict[str, Any]:
        reads = self._reads
        text_in, audio_in = reads.text, reads.audio
        text_out = self._text_tokens
        audio_out = math.ceil(self.sent_ms / MS_PER_OUTPUT_TOKEN)
        most = self._config.max_output_tokens
        if isinstance(most, int):  # what it was stopped by has not been passed
            text_out = min(text_out, most)
            audio_out = min(audio_out, most - text_out)
        return {
            "total_tokens": text_in + audio_in + text_out + audio_out,
            "input_tokens": text_in + audio_in,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": reads.cached_text + reads.cached_audio,
                "cached_tokens_details": {
                    "text_tokens": reads.cached_text,
                    "audio_tokens": reads.cached_audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }
