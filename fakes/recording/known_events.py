"""The events that a replay understands: those of the API, today's and the beta's.

Other servers that speak the protocol have some of their own. They are replayed where they stood,
but nobody knows what released them.
"""

from callerside.fakes.recording.format import Recording
from callerside.fakes.session.requests import CLIENT_EVENTS

_TRANSCRIPTION = "conversation.item.input_audio_transcription"
SERVER_EVENTS = frozenset(
    {
        "error",
        "session.created",
        "session.updated",
        "conversation.created",
        "rate_limits.updated",
        *(
            f"input_audio_buffer.{name}"
            for name in (
                *("committed", "cleared", "speech_started", "speech_stopped", "timeout_triggered"),
                "dtmf_event_received",
            )
        ),
        *(
            f"conversation.item.{name}"
            for name in ("added", "created", "done", "retrieved", "deleted", "truncated")
        ),
        *(f"{_TRANSCRIPTION}.{name}" for name in ("delta", "segment", "completed", "failed")),
        *(f"output_audio_buffer.{name}" for name in ("started", "stopped", "cleared")),
        *(f"mcp_list_tools.{name}" for name in ("in_progress", "completed", "failed")),
        *(f"response.mcp_call.{name}" for name in ("in_progress", "completed", "failed")),
        "response.created",
        "response.done",
        *(
            f"response.{part}.{name}"
            for part in ("output_item", "content_part")
            for name in ("added", "done")
        ),
        *(
            f"response.{part}.{name}"
            for part in (
                *("output_audio", "output_audio_transcript", "output_text"),
                *("audio", "audio_transcript", "text"),
                *("function_call_arguments", "mcp_call_arguments"),
            )
            for name in ("delta", "done")
        ),
    }
)


def first_unknown(recording: Recording) -> str | None:
    """The first event that is none of the API's: which one, and where; None if all are known."""
    for number, entry in enumerate(recording.entries, start=1):
        known = CLIENT_EVENTS if entry.sender == "client" else SERVER_EVENTS
        if entry.type not in known:
            return f"event {number}, {entry.type} of the {entry.sender}"
    return None
