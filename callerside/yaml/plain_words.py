"""Pydantic's sentences about a wrong value, in the words of somebody who writes YAML."""

import re

_PLAIN = {
    "field required": "is missing",
    "extra inputs are not permitted": "there is no such key",
    "string should have at least 1 character": "expected a word at least",
    "list should have at least 1 item after validation, not 0": "expected at least one",
    "tuple should have at least 1 item after validation, not 0": "expected at least one",
    "input should be greater": "expected a number greater",
    "input should be less": "expected a number less",
    "input should be None": "expected nothing",
    "input should be": "expected",
    "a valid dictionary": "a mapping",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid string": "text",
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
}

_TAGS = re.compile(
    r"input tag ('.*?') found using '(\w+)' does not match any of the expected tags: "
)
_NO_TAG = re.compile(r"unable to extract tag using discriminator '(\w+)'")


def plain(message: str) -> str:
    """A message of Pydantic's, as the end of a line that names the place and the value."""
    text = message.removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    for theirs, ours in _PLAIN.items():
        text = text.replace(theirs, ours)
    text = _TAGS.sub(r"\2: there is no \1; expected one of ", text)
    text = _NO_TAG.sub(r"\1 is missing", text)
    return re.sub(r" or instance of \w+", "", text)
