"""openai-agents of npm."""

from in_node import InNode
from talk import Stories


class AgentsNpm(InNode):
    program = "agents_npm.mjs"
    lacks = frozenset({"reconnect", "one answer to two calls"})


class TestAgentsNpm(Stories):
    client = AgentsNpm
