"""What a fake Realtime session says and does: the script, as it is written in YAML.

A script stands in a file of its own (`fake-realtime serve --script FILE`) or as the `realtime:`
section of a scenario. Everything has a default: the empty script is a server that answers every
turn with a short sentence, at the pace of recorded sessions.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from callerside.durations import Between, DurationMs
from callerside.fakes.script.reply import Reply, ReplyItem
from callerside.fakes.session.faults import Fault
from callerside.models import Strict

Dialect = Literal["ga", "beta", "azure"]
VadEngine = Literal["energy", "silero"]

_Said = TypeVar("_Said", Reply, ReplyItem)


class Timing(Strict):
    """When things happen. The defaults are those of recorded gpt-realtime-2.1-mini sessions."""

    connect_delay_ms: float = Field(default=0, ge=0, le=60_000)
    """From the client's handshake to its acceptance, and to `session.created`."""
    think_ms: float = Field(default=500, ge=0, le=600_000)
    """From commit (or `response.create`) to the first audio delta."""
    delta_ms: float = Field(default=255, ge=10, le=10_000)
    """Audio in one delta."""
    delta_spread_ms: float = Field(default=20, ge=0, le=1000)
    """How much longer or shorter than `delta_ms` a delta may be."""
    pace: float = Field(default=12, ge=0.1, le=1000)
    """How much faster than real time the audio is sent."""
    jitter_ms: float = Field(default=0, ge=0, le=10_000)
    """How much later than planned an audio delta may come (the order stays)."""
    think_jitter_ms: float = Field(default=0, ge=0, le=60_000)
    """How much shorter or longer the think time may be."""
    commit_ms: float = Field(default=150, ge=0, le=10_000)
    """From a client's commit to `committed`, with turn detection off."""
    commit_error_ms: float = Field(default=0, ge=0, le=10_000)
    """From a client's commit of nearly nothing to its error; real ones took up to a second."""
    transcription_ms: float = Field(default=400, ge=0, le=60_000)
    """From commit to the completed input transcription."""
    expires_after_s: float = Field(default=3600, gt=0, le=86_400)
    """How long a session lives."""


class Vad(Strict):
    """How the server hears. What is given here overrides what the session asks for."""

    engine: VadEngine = "energy"
    """`energy` (by level; fast) or `silero` (a neural network; distinguishes voices from noise)."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Probability of speech from which a frame counts as voiced."""
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=10_000)
    """Audio before the onset that belongs to the turn."""
    silence_duration_ms: int | None = Field(default=None, ge=0, le=30_000)
    """Silence that ends a turn."""
    min_speech_ms: int = Field(default=32, ge=32, le=1000)
    """Voiced time without a break from which it is speech; counted in frames of 32 ms."""
    semantic_pause_ms: int = Field(default=600, ge=32, le=8000)
    """Pause after which `semantic_vad` judges a turn finished, if its reply is not `unfinished`."""


class PathDelay(Strict):
    """The way between client and server: what each direction adds to every message, in order."""

    delay: Annotated[DurationMs, Between(0, 10_000)] = 0.0
    """One way; a turn takes it there and back."""
    jitter: Annotated[DurationMs, Between(0, 10_000)] = 0.0
    """How much later than that a message may come; the order stays."""


class McpToolDescription(Strict):
    """A tool of an MCP server, as the server lists it."""

    name: str = Field(min_length=1, max_length=200)
    """Its name."""
    description: str = ""
    """What it is for."""
    input_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema of its arguments."""
    read_only: bool = False
    """Whether it changes nothing (`readOnlyHint`), by which a session may allow it."""


class McpServer(Strict):
    """An MCP server that sessions may name among their tools; nothing is reached."""

    tools: tuple[McpToolDescription, ...] = Field(default=(), max_length=1000, strict=False)
    """What it lists."""
    list_ms: float = Field(default=300, ge=0, le=600_000)
    """How long the listing takes."""
    fails: bool = False
    """Whether its tools cannot be listed."""


PromptText = Annotated[str, Field(min_length=1, max_length=100_000)]


def _vad_by_name(value: object) -> object:
    return {"engine": value} if isinstance(value, str) else value


class Script(Strict):
    """Everything that a fake session does besides following the protocol."""

    greeting: Reply = Reply(say="Hello, how can I help you?")
    """Answers a `response.create` that comes before the first user item."""
    replies: tuple[Reply, ...] = Field(default=(), max_length=1000, strict=False)
    """What responses say: each takes the next, also behind a function call or a failure."""
    default_reply: Reply = Reply(say="All right. Is there anything else?")
    """Answers every turn after those, and out-of-band responses."""
    timing: Timing = Timing()
    """When things happen."""
    path: PathDelay = PathDelay()
    """How long messages are on the way between client and server."""
    vad: Annotated[Vad, BeforeValidator(_vad_by_name, json_schema_input_type=VadEngine | Vad)] = (
        Vad()
    )
    """How the server hears: `energy`, `silero`, or a mapping with overrides."""
    dialect: Dialect = "ga"
    """`ga` is today's API; `beta` has the event names of before May 2026; `azure` is GA as Azure
    OpenAI has it."""
    commits: Literal["server", "client"] = "server"
    """Who ends a turn under `server_vad`: the server, as the API does, or the client's commit."""
    prompts: dict[str, PromptText] = Field(default_factory=dict, max_length=100)
    """Prompts that are kept at the API's, by id: their instructions, with `{{variables}}`. Without
    any, every id is taken, and changes nothing."""
    mcp: dict[str, McpServer] = Field(default_factory=dict, max_length=100)
    """MCP servers by `server_label`. One that a session names and the script does not cannot be
    listed."""
    context_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """How many tokens the model can read; 28,224 without it."""
    seed: int = Field(default=0, ge=0)
    """Everything random comes from it."""
    faults: tuple[Fault, ...] = Field(default=(), max_length=100, strict=False)
    """What goes wrong, and where."""
    chaos: float = Field(default=0, ge=0, le=1)
    """How probable one more fault is at each place of the conversation, drawn by `seed`."""

    def resolved(self, folder: Path) -> "Script":
        """The same script with every path of a file made absolute against `folder`."""

        def files(one: _Said) -> _Said:
            update: dict[str, object] = {}
            if one.wav is not None:
                update["wav"] = folder / one.wav
            if one.recording is not None:
                file = folder / one.recording.file
                update["recording"] = one.recording.model_copy(update={"file": file})
            return one.model_copy(update=update) if update else one

        def resolve(reply: Reply) -> Reply:
            reply = files(reply)
            if not reply.items:
                return reply
            return reply.model_copy(update={"items": tuple(map(files, reply.items))})

        return self.model_copy(
            update={
                "greeting": resolve(self.greeting),
                "replies": tuple(map(resolve, self.replies)),
                "default_reply": resolve(self.default_reply),
            }
        )
