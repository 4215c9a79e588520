"""Tools of MCP servers, which the API itself would call: listed, asked about, called.

The fake reaches no server. The script says what tools each has (`mcp`), and which are called, with
what result (`mcp_call` of a reply). The order of events follows the SDK's types and what openai's
own tests of its client for .NET wait for: a list's item is done behind `mcp_list_tools.completed`,
a call's result comes behind `response.done`, an approved call is made in the response that the
client asks for after its approval.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from callerside.fakes.script.model import McpServer
from callerside.fakes.script.reply import McpCall
from callerside.fakes.session.context import SessionState, marked_arguments
from callerside.fakes.session.conversation import Item
from callerside.fakes.session.refusals import RequestError

_MOST_SERVERS = 100
"""That are asked in a session."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A call that is being made."""

    item: Item
    call: McpCall
    output_index: int
    in_conversation: bool


class McpServers:
    """The MCP servers of one session."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._asked: dict[str, Mapping[str, Any]] = {}
        """Each server's tool of the session, by its label."""
        self._of_response: dict[str, Mapping[str, Any]] | None = None
        """Those that the last response has in place of the session's; None: it has none."""
        self._known: set[str] = set()
        """Servers that have been asked for their tools, however that went."""
        self._lists: dict[str, Item] = {}
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._requests: dict[str, McpCall] = {}
        """Calls that wait for an approval, by the id of the request."""
        self._approved: deque[tuple[McpCall, str]] = deque()
        self._by_approval: tuple[McpCall, str] | None = None
        self._running: dict[str, _Running] = {}

    def follow(self, tools: Iterable[Mapping[str, Any]]) -> None:
        """The session has these tools, and no others: new servers are asked for theirs."""
        self._asked = _by_label(tools)
        self._list_new(self._asked)

    def follow_response(self, tools: Iterable[Mapping[str, Any]] | None) -> None:
        """A response begins, with tools in place of the session's; None: with the session's."""
        self._of_response = None if tools is None else _by_label(tools)
        self._list_new(self._of_response or {})

    def finish_listing(self, label: str) -> None:
        """The timer `mcp_list` of a server is due."""
        out = self._state.out
        item = self._lists.pop(label)
        server = self._server(label)
        if server is None or server.fails:
            out.send("mcp_list_tools.failed", item_id=item.id)
            why = "it fails" if server else "the script's mcp has no such server"
            out.mark("mcp_listed", server=label, status="failed", detail=why)
            return
        allowed = self._tools().get(label, {}).get("allowed_tools")
        item.data["tools"] = self._listed[label] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.input_schema,
                "annotations": {"readOnlyHint": tool.read_only},
            }
            for tool in server.tools
            if allowed is None or self._matches(allowed, label, tool.name)
        ]
        out.send("mcp_list_tools.completed", item_id=item.id)
        before = self._state.conversation.previous_of_done(item.id)
        out.send("conversation.item.done", previous_item_id=before, item=item.snapshot())
        names = ", ".join(tool["name"] for tool in item.data["tools"])
        out.mark("mcp_listed", server=label, status="completed", detail=names)

    def why_undeclared(self, call: McpCall) -> str | None:
        """Why no model would make this call; None if one could."""
        if call.server not in self._tools():
            return "no tool of the session is an MCP server with this label"
        if call.name not in [tool["name"] for tool in self._listed.get(call.server, ())]:
            return "the server has listed no such tool"
        return None

    def approval_of(self, call: McpCall) -> str | None:
        """The id of the request by which a call has been approved."""
        approved = self._by_approval
        return approved[1] if approved is not None and approved[0] is call else None

    def needs_approval(self, call: McpCall) -> bool:
        """Whether the client is asked first: always, unless the session says otherwise."""
        rule = self._tools().get(call.server, {}).get("require_approval", "always")
        if self.approval_of(call) is not None or rule == "never":
            return False
        if isinstance(rule, Mapping):
            never = rule.get("never")
            return never is None or not self._matches(never, call.server, call.name)
        return True

    def ask(self, request_id: str, call: McpCall) -> None:
        """A request for approval has been sent."""
        self._requests[request_id] = call
        self._mark(call, "approval_requested")

    def check_asked(self, request_id: str) -> None:
        """A client is about to answer this.

        Raises:
            RequestError: no such request waits.
        """
        if request_id not in self._requests:
            error = RequestError("approval_unknown", "item.approval_request_id", value=request_id)
            self._state.refuse(error)

    def answer(self, request_id: str, *, approve: bool) -> None:
        """The client has answered: what it approves is called in the next response."""
        call = self._requests.pop(request_id, None)
        if call is None:  # told already, and served all the same
            return
        if approve:
            self._approved.append((call, request_id))
        else:
            self._mark(call, "denied")

    def take_approved(self) -> McpCall | None:
        """The first call that has been approved, and not been made."""
        self._by_approval = self._approved.popleft() if self._approved else None
        return None if self._by_approval is None else self._by_approval[0]

    def begin(self, item: Item, call: McpCall, output_index: int, *, in_conversation: bool) -> None:
        """A response has said all of a call: it is made when the response is done."""
        out = self._state.out
        out.send("response.mcp_call.in_progress", item_id=item.id, output_index=output_index)
        self._running[item.id] = _Running(item, call, output_index, in_conversation)

    def responded(self, item_ids: Iterable[str]) -> None:
        """A response with these items is done."""
        for item_id in item_ids:
            if (running := self._running.get(item_id)) is not None:
                due_ns = self._state.in_ms(running.call.takes_ms)
                self._state.out.set_timer(f"mcp_call:{item_id}", due_ns)

    def finish_call(self, item_id: str) -> None:
        """The timer `mcp_call` of an item is due."""
        running = self._running.pop(item_id)
        item, call = running.item, running.call
        if call.fails is None:
            item.data["output"] = call.output
        else:
            item.data["error"] = call.fails.model_dump(exclude_none=True)
        status = "completed" if call.fails is None else "failed"
        self._state.out.send(
            f"response.mcp_call.{status}", item_id=item_id, output_index=running.output_index
        )
        if running.in_conversation:
            self._state.out.send(
                "conversation.item.done",
                previous_item_id=self._state.conversation.previous_of_done(item_id),
                item=item.snapshot(),
            )
        self._mark(call, status)

    def _tools(self) -> Mapping[str, Mapping[str, Any]]:
        return self._asked if self._of_response is None else self._of_response

    def _list_new(self, asked: Iterable[str]) -> None:
        for label in asked:
            if label not in self._known and len(self._known) < _MOST_SERVERS:
                self._known.add(label)
                self._list(label)

    def _list(self, label: str) -> None:
        out, conversation = self._state.out, self._state.conversation
        data = {"id": out.ids.new("mcpl"), "type": "mcp_list_tools", "server_label": label}
        item = self._lists[label] = Item({**data, "tools": []})
        out.send(
            "conversation.item.added", previous_item_id=conversation.add(item), item=item.snapshot()
        )
        out.send("mcp_list_tools.in_progress", item_id=item.id)
        server = self._server(label)
        after_ms = McpServer().list_ms if server is None else server.list_ms
        out.set_timer(f"mcp_list:{label}", self._state.in_ms(after_ms))

    def _server(self, label: str) -> McpServer | None:
        return self._state.script.mcp.get(label)

    def _matches(self, rule: Any, label: str, name: str) -> bool:
        """Whether a tool is one of a list of names, or of a filter."""
        if not isinstance(rule, Mapping):
            return name in rule
        names, read_only = rule.get("tool_names"), rule.get("read_only")
        server = self._server(label)
        known = {} if server is None else {tool.name: tool.read_only for tool in server.tools}
        fits = read_only is None or known.get(name, False) == read_only
        return fits and (names is None or name in names)

    def _mark(self, call: McpCall, status: str) -> None:
        self._state.out.mark(
            "mcp_called",
            server=call.server,
            name=call.name,
            arguments=marked_arguments(call.arguments_text),
            status=status,
        )


def _by_label(tools: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {tool["server_label"]: tool for tool in tools if tool["type"] == "mcp"}
