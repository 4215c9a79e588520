"""The tools that act on the call itself, as they are declared to the model."""

from typing import Any

from callerside.agent.config.settings import ToolSettings

HANG_UP = "hang_up"
TRANSFER = "transfer"
SEND_DTMF = "send_dtmf"
BUILT_IN = frozenset({HANG_UP, TRANSFER, SEND_DTMF})
DTMF_DIGITS = frozenset("0123456789*#ABCD")

Declaration = dict[str, Any]
"""A tool of `session.update`: type, name, description, parameters (a JSON Schema)."""


def declarations(settings: ToolSettings) -> list[Declaration]:
    """The built-in tools that these settings allow."""
    allowed: list[Declaration] = []
    if settings.hang_up:
        use = "End the call. Say goodbye first: the caller hears everything that you have said."
        allowed.append(_declare(HANG_UP, use, {}))
    if settings.transfer:
        properties: dict[str, Any] = {"uri": {"type": "string", "enum": list(settings.transfer)}}
        if settings.transfer_kind == "attended":
            told = "Who calls, and why: whoever answers is told so first."
            properties["reason"] = {"type": "string", "description": told}
        allowed.append(_declare(TRANSFER, "Transfer the caller to somebody else.", properties))
    if settings.send_dtmf:
        digits = {"type": "string", "pattern": "^[0-9*#A-D]+$"}
        use = "Press telephone keys towards the caller's side."
        allowed.append(_declare(SEND_DTMF, use, {"digits": digits}))
    return allowed


def _declare(name: str, description: str, properties: dict[str, Any]) -> Declaration:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "description": description, "parameters": parameters}
