"""What is said, asked, called and answered in generated calls."""

from typing import Any

REPLIES = (
    "At nine.",
    "We open at nine in the morning and close at five in the afternoon.",
    (
        "We have three branches. The main branch is open from Monday to Saturday, the one at the "
        "harbour from Tuesday to Friday, and the one at the station every day of the week."
    ),
)
DESK = "sip:desk@127.0.0.1"
TRANSFER = {"name": "transfer", "arguments": {"uri": DESK}}
LOOK_UP = {"name": "look_up", "arguments": {"day": "Saturday"}}
"""There is such a function in few calls only."""
FUNCTION_CALLS: tuple[dict[str, Any], ...] = (
    LOOK_UP,
    {"name": "send_dtmf", "arguments": {"digits": "42#"}},
    {"name": "hang_up"},
    TRANSFER,
)
FINAL_QUESTION = "Are you still there?"
FIRST_QUESTION = "What time do you open?"

CALM_MS = 10_000
"""Longer than every fault and every wait: what has not recovered by then never will."""
ANSWER_MS = 15_000
QUESTION: list[Any] = [
    {"pause": 2000},
    {"say": FINAL_QUESTION},
    {"expect": "reply", "within": ANSWER_MS},
    "hang_up",
]

SHAPES: tuple[dict[str, Any], ...] = (
    {"text": REPLIES[0]},
    {"say": REPLIES[0], "incomplete": {"after_ms": 700}},
    {"say": REPLIES[0], "incomplete": {"after_ms": 700, "reason": "content_filter"}},
    {"say": REPLIES[0], "failed": {"after_ms": 500}},
    {"say": REPLIES[0], "cancelled": {"after_ms": 700}},
    {"say": REPLIES[0], "function_calls": list(FUNCTION_CALLS)},
    {"items": [{"say": REPLIES[0]}, {"say": REPLIES[0], "after_ms": 600}]},
    {"say": REPLIES[0], "pauses": [{"at_ms": 0, "for_ms": 800}]},
    {"say": REPLIES[0], "next_after_ms": 0},
    {"function_call": {"name": "no_such_function", "raw_arguments": "{'a"}},
    {"sends_only": "nothing"},
    {"sends_only": "created"},
)
"""Answers that are not as one hopes."""
