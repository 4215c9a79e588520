"""What the server refuses, in the words of the API: one table, which docs/fake-realtime.md shows.

Whoever refuses something raises `RequestError` with the name of an entry; code and words are here
alone, with how they are known. No sentence of a validation library reaches a client.
"""

from dataclasses import dataclass
from typing import Literal

Evidence = Literal["REC", "TYPE", "DOC", "REP", "INF"]
"""A recording; the SDK's types; the official guide; a user's report; or nothing but likelihood."""
Sure = Literal["code and words", "code", "that it is refused", "a guess"]
Leniently = Literal["as it is", "without it", "refused"]
"""What a lenient server does: serve it as it is, serve the rest, or refuse it, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """One thing that is refused."""

    what: str
    """What is checked, for people."""
    code: str
    """`error.code`."""
    words: str
    """`error.message`, a template: `param` and what else it names are filled in."""
    evidence: Evidence
    source: str = ""
    """Where the evidence is."""
    sure: Sure = "a guess"
    leniently: Leniently
    """What `--lenient` does about it."""
    names_its_event: bool = True
    """Whether the error says by `param` and `event_id` what has caused it."""


REFUSALS: dict[str, Refusal] = {
    "no_json": Refusal(
        what="A message is JSON.",
        code="invalid_value",
        words="The message is not valid JSON.",
        evidence="INF",
        leniently="refused",
    ),
    "no_object": Refusal(
        what="An event is an object.",
        code="invalid_value",
        words="Expected a JSON object.",
        evidence="INF",
        leniently="refused",
    ),
    "nested_too_deep": Refusal(
        what="An event is nested no deeper than 50 levels: a bound of ours.",
        code="invalid_value",
        words="The message is nested deeper than {most} levels.",
        evidence="INF",
        leniently="refused",
    ),
    "unsupported_value": Refusal(
        what="A value is one of those that its key has, and so is the type of an event, which is "
        "refused with `--lenient`, too.",
        code="invalid_value",
        words="Invalid value: '{value}'. Supported values are: {supported}.",
        evidence="REP",
        source="Azure-Samples/aoai-realtime-audio-sdk#94, dongri/openai-api-rs#135",
        sure="code and words",
        leniently="without it",
    ),
    "unsupported_voice": Refusal(
        what="A voice is one of those that there are, or a custom one's id.",
        code="invalid_value",
        words="Invalid value: '{value}'. Supported values are: {supported}.",
        evidence="REP",
        source="like the one above; the voices from the SDK's types",
        sure="code and words",
        leniently="as it is",
    ),
    "unknown_parameter": Refusal(
        what="A key is known where it stands, in a tool as well.",
        code="unknown_parameter",
        words="Unknown parameter: '{param}'.",
        evidence="REP",
        source="livekit/agents#3210",
        sure="code and words",
        leniently="without it",
    ),
    "missing_parameter": Refusal(
        what="A required key is there, such as `session.type`, a tool's `name`, and the `text` of "
        "an `input_text` (INF). What an assistant said is given as `text`, also where the type is "
        "`output_audio`.",
        code="missing_required_parameter",
        words="Missing required parameter: '{param}'.",
        evidence="REP",
        source="TanStack/ai#586, Azure-Samples/aoai-realtime-audio-sdk#132, "
        "openai/openai-agents-js#963",
        sure="code and words",
        leniently="without it",
    ),
    "invalid_type": Refusal(
        what="A value has the type of its key; null only where it switches something off.",
        code="invalid_type",
        words="Invalid type for '{param}': expected {expected}, but got {got} instead.",
        evidence="REP",
        source="livekit/agents#3444; the end of the sentence as in other APIs of OpenAI",
        sure="code",
        leniently="without it",
    ),
    "invalid_value": Refusal(
        what="A value can be used.",
        code="invalid_value",
        words="Invalid value for '{param}'.",
        evidence="INF",
        leniently="without it",
    ),
    "integer_above_maximum": Refusal(
        what="A whole number is at most so much: `max_output_tokens` 4096.",
        code="integer_above_max_value",
        words="Invalid '{param}': integer above maximum value. Expected a value <= {limit}, but "
        "got {value} instead.",
        evidence="REP",
        source="lukacf/meerkat#283; the second sentence as in other APIs of OpenAI",
        sure="code and words",
        leniently="without it",
    ),
    "integer_below_minimum": Refusal(
        what="A whole number is at least so much: `idle_timeout_ms` 5000.",
        code="integer_below_min_value",
        words="Invalid '{param}': integer below minimum value. Expected a value >= {limit}, but "
        "got {value} instead.",
        evidence="INF",
        source="like the one above",
        sure="that it is refused",
        leniently="without it",
    ),
    "decimal_above_maximum": Refusal(
        what="A number is at most so much: `speed` 1.5.",
        code="decimal_above_max_value",
        words="Invalid '{param}': decimal above maximum value. Expected a value <= {limit}, but "
        "got {value} instead.",
        evidence="INF",
        source="like the ones above; limits from the SDK's types",
        sure="that it is refused",
        leniently="without it",
    ),
    "decimal_below_minimum": Refusal(
        what="A number is at least so much: `speed` 0.25.",
        code="decimal_below_min_value",
        words="Invalid '{param}': decimal below minimum value. Expected a value >= {limit}, but "
        "got {value} instead.",
        evidence="INF",
        source="like the ones above; limits from the SDK's types",
        sure="that it is refused",
        leniently="without it",
    ),
    "string_too_long": Refusal(
        what="A text is no longer than its key allows: a tool's description 1,024 characters, its "
        "name 64, an id 64, an `event_id` 512, a value of `metadata` 512.",
        code="string_above_max_length",
        words="Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
        "but got a string with length {length} instead.",
        evidence="REP",
        source="livekit/agents#1183 (beta)",
        sure="code",
        leniently="as it is",
    ),
    "string_too_short": Refusal(
        what="A name and an id are not empty.",
        code="string_below_min_length",
        words="Invalid '{param}': string too short. Expected a string with minimum length {limit}, "
        "but got a string with length {length} instead.",
        evidence="INF",
        sure="that it is refused",
        leniently="without it",
    ),
    "string_has_no_pattern": Refusal(
        what="The id of an item, that of a call, and the name of a tool (INF) have letters, "
        "digits, `_` and `-` only.",
        code="invalid_value",
        words="Invalid '{param}': string does not match pattern. Expected a string that matches "
        "the pattern '{pattern}'.",
        evidence="REP",
        source="livekit/agents#1717 (beta, an item), #5652 (GA, a call)",
        sure="code and words",
        leniently="as it is",
    ),
    "no_object_schema": Refusal(
        what="The `parameters` of a function are a JSON Schema of an object. What else a schema "
        "says is not looked at.",
        code="invalid_function_parameters",
        words="Invalid schema for function '{function}': schema must be a JSON Schema of "
        "'type: \"object\"', got 'type: \"{kind}\"'.",
        evidence="INF",
        source="as in other APIs of OpenAI; the SDK's types take any JSON",
        leniently="as it is",
    ),
    "array_too_long": Refusal(
        what="A list is no longer than its key allows: `tools` 128.",
        code="array_above_max_length",
        words="Invalid '{param}': array too long. Expected an array with maximum length {limit}, "
        "but got an array with length {length} instead.",
        evidence="INF",
        source="as in other APIs of OpenAI",
        leniently="as it is",
    ),
    "too_many_properties": Refusal(
        what="`metadata` has at most 16 keys.",
        code="object_above_max_properties",
        words="Invalid '{param}': too many properties. Expected an object with at most {limit} "
        "properties, but got an object with {length} properties instead.",
        evidence="TYPE",
        source="RealtimeResponseCreateParams.metadata; code and words as in other APIs of OpenAI",
        sure="that it is refused",
        leniently="as it is",
    ),
    "property_name_too_long": Refusal(
        what="A key of `metadata` has at most 64 characters.",
        code="property_name_above_max_length",
        words="Invalid property name in '{param}': '{property}' is too long. Expected a string "
        "with maximum length {limit}, but got a string with length {length} instead.",
        evidence="TYPE",
        source="RealtimeResponseCreateParams.metadata; code and words as in other APIs of OpenAI",
        sure="that it is refused",
        leniently="as it is",
    ),
    "mcp_without_server": Refusal(
        what="An MCP tool says where its server is.",
        code="missing_required_parameter",
        words="One of 'server_url', 'connector_id', or 'tunnel_id' must be provided.",
        evidence="TYPE",
        source="RealtimeToolsConfigUnion.Mcp",
        sure="that it is refused",
        leniently="as it is",
    ),
    "mcp_in_two_places": Refusal(
        what="An MCP tool has one server: its URL, a connector, or a tunnel.",
        code="invalid_value",
        words="Only one of 'server_url', 'connector_id', or 'tunnel_id' can be provided.",
        evidence="TYPE",
        source="RealtimeToolsConfigUnion.Mcp: one of them must be provided",
        leniently="as it is",
    ),
    "two_servers_of_one_label": Refusal(
        what="The `server_label` of an MCP tool is its own: calls name the server by it.",
        code="invalid_value",
        words="Invalid '{param}': each MCP tool must have a server_label of its own.",
        evidence="INF",
        source="RealtimeToolsConfigUnion.Mcp: it identifies the server in calls",
        leniently="as it is",
    ),
    "no_image": Refusal(
        what="An image is a data URI (TYPE), or at least one of `https`.",
        code="invalid_value",
        words="Invalid '{param}'. Expected a base64-encoded data URI of an image.",
        evidence="INF",
        source="RealtimeConversationItemUserMessage.Content.image_url knows data URIs alone",
        sure="that it is refused",
        leniently="as it is",
    ),
    "modalities_together": Refusal(
        what="A session, or a response, speaks or writes: `output_modalities` has one of the two.",
        code="invalid_value",
        words="Invalid modalities: {value}. Supported combinations are: ['text'] and ['audio'].",
        evidence="TYPE",
        source="RealtimeSessionCreateRequest.output_modalities; the words as in the beta",
        sure="that it is refused",
        leniently="without it",
    ),
    "no_base64": Refusal(
        what="Audio is base64.",
        code="invalid_value",
        words="Invalid '{param}'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but "
        "got an invalid value.",
        evidence="REP",
        source="Azure-Samples/aoai-realtime-audio-sdk#95",
        sure="code and words",
        leniently="refused",
    ),
    "audio_too_large": Refusal(
        what="An append holds at most 15 MiB of audio.",
        code="invalid_value",
        words="Invalid value for 'audio': expected base64 of at most 15 MiB of audio.",
        evidence="TYPE",
        source="InputAudioBufferAppendEvent",
        sure="that it is refused",
        leniently="refused",
    ),
    "audio_where_none_is": Refusal(
        what="Text content holds no audio.",
        code="unknown_parameter",
        words="Unknown parameter: '{param}'.",
        evidence="INF",
        sure="that it is refused",
        leniently="without it",
    ),
    "unsupported_model": Refusal(
        what="The model of the URL is one of the Realtime API.",
        code="invalid_model",
        words='Model "{model}" is not supported in realtime mode.',
        evidence="REP",
        source="livekit/agents-js#1756 (of transcription mode), with close 4000",
        sure="code",
        leniently="as it is",
    ),
    "model_is_fixed": Refusal(
        what="`session.update` does not change the model.",
        code="invalid_value",
        words="The model of a session cannot be changed.",
        evidence="TYPE",
        source="SessionUpdateEvent",
        sure="that it is refused",
        leniently="without it",
    ),
    "other_kind_of_session": Refusal(
        what="A session with `?model=` stays one of type `realtime`.",
        code="invalid_parameter",
        words="Passing a transcription session update event to a realtime session is not allowed.",
        evidence="REP",
        source="crmitchelmore/justspeaktoit#427",
        sure="code and words",
        leniently="as it is",
    ),
    "realtime_in_transcription": Refusal(
        what="A transcription session (`?intent=transcription`) stays one.",
        code="invalid_parameter",
        words="Passing a realtime session update event to a transcription session is not allowed.",
        evidence="INF",
        source="the other way round of the one above",
        sure="that it is refused",
        leniently="as it is",
    ),
    "model_of_transcription": Refusal(
        what="The URL of a transcription session names no model; close 4000.",
        code="invalid_parameter",
        words="You must not provide a model parameter for transcription sessions.",
        evidence="REP",
        source="openai/openai-python#2253",
        sure="code and words",
        leniently="as it is",
    ),
    "transcription_model_speaks_not": Refusal(
        what="The model of the URL is not one that only transcribes; close 4000.",
        code="invalid_model",
        words="Model {model} is a transcription model and cannot be used as the realtime session "
        "model. Pass this transcription model as audio.input.transcription.model instead.",
        evidence="REP",
        source="maximhq/bifrost#6095",
        sure="code and words",
        leniently="as it is",
    ),
    "no_turn_detection": Refusal(
        what="A transcription session with `gpt-realtime-whisper` has no turn detection.",
        code="invalid_value",
        words="Turn detection is not supported for this transcription model.",
        evidence="REP",
        source="crmitchelmore/justspeaktoit#427, and the SDK's types",
        sure="that it is refused",
        leniently="without it",
    ),
    "transcription_option": Refusal(
        what="The transcription model knows the option: `languages` and `keywords` of "
        "`gpt-transcribe` and `gpt-live-transcribe`, `delay` of `gpt-realtime-whisper`, which has "
        "no `prompt`.",
        code="invalid_value",
        words="The '{option}' parameter is not supported for transcription model '{model}'.",
        evidence="TYPE",
        source="AudioTranscription",
        sure="that it is refused",
        leniently="as it is",
    ),
    "no_responses": Refusal(
        what="A transcription session makes no responses.",
        code="invalid_value",
        words="Responses cannot be created in a transcription session.",
        evidence="INF",
        sure="that it is refused",
        leniently="refused",
    ),
    "prompt_unknown": Refusal(
        what="A prompt is one of the script's `prompts`, if it has any.",
        code="prompt_not_found",
        words="Prompt with id '{value}' not found.",
        evidence="INF",
        source="as in the Responses API",
        sure="that it is refused",
        leniently="without it",
    ),
    "prompt_variables": Refusal(
        what="Each variable of a prompt has a value.",
        code="invalid_value",
        words="Missing prompt variables: {names}.",
        evidence="INF",
        source="as in the Responses API",
        sure="that it is refused",
        leniently="as it is",
    ),
    "approval_unknown": Refusal(
        what="An `mcp_approval_response` answers a request that waits for one.",
        code="invalid_value",
        words="Approval request ID '{value}' not found in conversation.",
        evidence="INF",
        sure="that it is refused",
        leniently="as it is",
    ),
    "voice_is_fixed": Refusal(
        what="The voice stays once the assistant has spoken, in a single response as well (TYPE).",
        code="cannot_update_voice",
        words="Cannot update a conversation's voice if assistant audio is present.",
        evidence="REP",
        source="openai/openai-agents-python#1661",
        sure="code and words",
        leniently="as it is",
    ),
    "chosen_tool_is_none": Refusal(
        what="`tool_choice` names a tool that there is, and is still there after an update.",
        code="invalid_value",
        words="Tool choice '{value}' not found in 'tools' parameter.",
        evidence="INF",
        source="as in the Responses API",
        sure="that it is refused",
        leniently="as it is",
    ),
    "no_tool_to_choose": Refusal(
        what="With `tool_choice: required` there are tools, and remain after an update.",
        code="invalid_value",
        words="Tool choice 'required' must be specified with 'tools' parameter.",
        evidence="INF",
        source="as in the Responses API",
        sure="that it is refused",
        leniently="as it is",
    ),
    "buffer_too_small": Refusal(
        what="A commit has at least 100 ms of audio.",
        code="input_audio_buffer_commit_empty",
        words="Error committing input audio buffer: buffer too small. Expected at least "
        "{least_ms}ms of audio, but buffer only has {ms}ms of audio.",
        evidence="REC",
        sure="code and words",
        leniently="refused",
    ),
    "response_is_active": Refusal(
        what="One response of the conversation at a time.",
        code="conversation_already_has_active_response",
        words="Conversation already has an active response in progress: {response}. Wait until the "
        "response is finished before creating a new one.",
        evidence="REP",
        source="openai/openai-agents-python, livekit/agents",
        sure="code and words",
        leniently="refused",
    ),
    "too_many_responses": Refusal(
        what="At most 16 responses at a time, out of band: a bound of ours.",
        code="rate_limit_exceeded",
        words="Too many responses at the same time.",
        evidence="INF",
        leniently="refused",
    ),
    "too_much_waits": Refusal(
        what="At most 1,000 events, or 32 MiB, wait for a commit: a bound of ours.",
        code="rate_limit_exceeded",
        words="Too many events wait for a commit.",
        evidence="INF",
        leniently="refused",
    ),
    "nothing_to_cancel": Refusal(
        what="`response.cancel` finds a response that runs.",
        code="response_cancel_not_active",
        words="Cancellation failed: no active response found",
        evidence="REP",
        source="pipecat-ai/pipecat, livekit/agents",
        sure="code and words",
        leniently="refused",
    ),
    "tool_call_unknown": Refusal(
        what="A function's output belongs to a call of the conversation, or of the same `input`. "
        "The error names neither `param` nor `event_id`.",
        code="invalid_tool_call_id",
        words="Tool call ID '{value}' not found in conversation.",
        evidence="REP",
        source="livekit/agents#3344",
        sure="code and words",
        leniently="as it is",
        names_its_event=False,
    ),
    "duplicate_item": Refusal(
        what="An item's id is new.",
        code="item_create_duplicate_item_id",
        words="Error adding item: an item with id '{value}' already exists.",
        evidence="REP",
        sure="code",
        leniently="without it",
    ),
    "previous_item_unknown": Refusal(
        what="`previous_item_id` is in the conversation, or `root`.",
        code="item_create_invalid_previous_item_id",
        words="Item with item_id '{value}' does not exist.",
        evidence="INF",
        sure="that it is refused",
        leniently="without it",
    ),
    "retrieved_item_unknown": Refusal(
        what="An item that is retrieved is there.",
        code="item_retrieve_invalid_item_id",
        words="Item with item_id '{value}' does not exist.",
        evidence="REP",
        sure="code",
        leniently="refused",
    ),
    "deleted_item_unknown": Refusal(
        what="An item that is deleted is there.",
        code="item_delete_invalid_item_id",
        words="Item with item_id '{value}' does not exist.",
        evidence="INF",
        sure="that it is refused",
        leniently="refused",
    ),
    "truncated_item_unknown": Refusal(
        what="An item that is truncated is there.",
        code="item_truncate_invalid_item_id",
        words="Item with item_id '{value}' does not exist.",
        evidence="INF",
        sure="that it is refused",
        leniently="refused",
    ),
    "referenced_item_unknown": Refusal(
        what="An `item_reference` of `response.input` is in the conversation.",
        code="invalid_value",
        words="Item with item_id '{value}' does not exist.",
        evidence="INF",
        sure="that it is refused",
        leniently="without it",
    ),
    "nothing_to_truncate": Refusal(
        what="What is truncated is audio of the model's, of which some has been sent.",
        code="unsupported_content_type",
        words="Only model output audio messages can be truncated",
        evidence="REP",
        source="livekit/agents#6157",
        sure="code and words",
        leniently="refused",
    ),
    "no_such_content": Refusal(
        what="`content_index` is one of the item's.",
        code="invalid_value",
        words="Invalid value for 'content_index': the item has {count}.",
        evidence="INF",
        sure="that it is refused",
        leniently="refused",
    ),
    "truncated_already": Refusal(
        what="A truncation does not lengthen.",
        code="invalid_value",
        words="Audio content of {ms:.0f}ms is already shorter than {asked_ms}ms",
        evidence="REP",
        source="twilio-samples/speech-assistant-openai-realtime-api-python#45",
        sure="that it is refused",
        leniently="without it",
    ),
    "wrong_key": Refusal(
        what="A client secret (`ek_...`) is one of this server's, and has not expired; close 3000. "
        "Any other key is taken.",
        code="invalid_api_key",
        words="Incorrect API key provided: {key}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        evidence="REP",
        source="of an `sk-` key; of a client secret, that it is told in the same way, "
        "stdapi.ai's documentation",
        sure="code and words",
        leniently="as it is",
    ),
    "call_unknown": Refusal(
        what="A call that is accepted, rejected, joined or hung up is there; HTTP 404.",
        code="call_not_found",
        words="No call found with id '{value}'.",
        evidence="INF",
        sure="that it is refused",
        leniently="refused",
    ),
    "call_state": Refusal(
        what="A call that is accepted or rejected rings, one that is joined or hung up was "
        "accepted; HTTP 400.",
        code="invalid_value",
        words="The call '{value}' is {state}.",
        evidence="INF",
        leniently="refused",
    ),
    "beta_is_over": Refusal(
        what="No client asks for the beta (`OpenAI-Beta: realtime=v1`); close 4000.",
        code="beta_api_shape_disabled",
        words="The Realtime Beta API is no longer supported. Please use /v1/realtime for the "
        "GA API.",
        evidence="REP",
        source="TanStack/ai#586",
        sure="code and words",
        leniently="as it is",
    ),
    "session_is_over": Refusal(
        what="A session lives for 60 minutes (`timing.expires_after_s`); close 1001.",
        code="session_expired",
        words="Your session hit the maximum duration of {minutes:g} minutes.",
        evidence="REP",
        sure="code and words",
        leniently="refused",
    ),
}
"""All that is refused, by name."""


class RequestError(Exception):
    """A client event is refused: becomes an `error` event; the session goes on."""

    def __init__(self, name: str, param: str | None = None, **facts: object) -> None:
        """`name` is one of `REFUSALS`; `param` is the path of what is wrong, `facts` its values."""
        refusal = REFUSALS[name]
        self.name = name
        self.leniently = refusal.leniently
        self.names_its_event = refusal.names_its_event
        self.code = refusal.code
        self.message = refusal.words.format(param=param, **facts)
        self.param = param
        super().__init__(self.message)


TAKEN = (
    (
        "A connection without a key (`Authorization`), and any key but a client secret.",
        "Surely refused; here no key is needed, so that a test needs none.",
    ),
    (
        "A URL that names no model, or an empty one.",
        "Nothing is known; the session has the newest one.",
    ),
    ("Two tools of one name.", "Nothing is known: what other APIs say of it is not OpenAI's."),
    (
        "An append of PCM with an odd number of bytes.",
        "Half of a sample waits for the other half, of the next append. Nothing is known.",
    ),
    (
        "An `image_url` of `https`.",
        "The SDK's types know data URIs alone (TYPE); whether others are refused is not known.",
    ),
    ("The `language` of a transcription, whatever it is.", "Nothing is known."),
    ("A transcription model of any name.", "The SDK's types take any text (TYPE)."),
)
"""What is taken here, though the real server may refuse it: what, and what is known of it."""
