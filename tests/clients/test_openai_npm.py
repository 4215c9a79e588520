"""The official package of npm."""

from in_node import InNode
from talk import Stories


class OpenAINpm(InNode):
    program = "openai_npm.mjs"
    lacks = frozenset({"reconnect"})


class TestOpenAINpm(Stories):
    client = OpenAINpm
