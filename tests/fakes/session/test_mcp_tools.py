"""Tools of MCP servers: listed, asked about, called, and what fails of that."""

import json
from typing import Any

import pytest
from in_memory import Client
from official import check

from callerside.fakes.server.codec import encode

CALL = {"server": "shop", "name": "find_order", "arguments": {"number": 7}, "returns": "sent"}
SHOP = {
    "tools": [
        {"name": "find_order", "description": "Finds.", "read_only": True},
        {"name": "cancel_order"},
    ]
}


def tool(label: str = "shop", **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": label, "server_url": "https://shop.example", **more}


def shopping(*replies: dict[str, Any], rule: Any = "never", **more: Any) -> Client:
    client = Client({"replies": replies, "mcp": {"shop": SHOP}, "timing": {"think_ms": 50}})
    client.turn_detection(None)
    client.update(tools=[tool(require_approval=rule, **more)])
    client.wait(1000)
    return client


def ask(client: Client, text: str = "Where is my order?") -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    client.send("conversation.item.create", item=item)
    client.send("response.create")
    client.wait(2000)


def since(client: Client, event_type: str) -> list[str]:
    """Types from the last of these on, without what comes between."""
    last = len(client.types) - 1 - client.types[::-1].index(event_type)
    return client.types[last:]


def checked(client: Client) -> None:
    for event in client.events:
        check(json.loads(encode(event)))


def test_a_server_is_asked_for_its_tools_once() -> None:
    client = shopping()
    client.update(tools=[tool()], instructions="Be brief.")
    client.wait(1000)
    assert client.types == [
        "session.created",
        "session.updated",
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "conversation.item.done",
        "session.updated",
    ]
    listed = client.only("conversation.item.done")["item"]
    assert listed["id"] == client.only("mcp_list_tools.completed")["item_id"]
    assert [one["name"] for one in listed["tools"]] == ["find_order", "cancel_order"]
    assert client.time_ms("mcp_list_tools.completed") == 300
    checked(client)


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (["cancel_order"], ["cancel_order"]),
        ({"tool_names": ["find_order", "other"]}, ["find_order"]),
        ({"read_only": True}, ["find_order"]),
        ({"read_only": False}, ["cancel_order"]),
    ],
)
def test_only_allowed_tools_are_listed(allowed: Any, names: list[str]) -> None:
    listed = shopping(allowed_tools=allowed).only("conversation.item.done")["item"]
    assert [one["name"] for one in listed["tools"]] == names


@pytest.mark.parametrize("mcp", [{}, {"shop": {"fails": True}}])
def test_what_cannot_be_listed_fails(mcp: dict[str, Any]) -> None:
    client = Client({"mcp": mcp})
    client.update(tools=[tool()])
    client.wait(1000)
    added = client.only("conversation.item.added")["item"]
    assert client.only("mcp_list_tools.failed")["item_id"] == added["id"]
    assert client.marked("mcp_listed")[0].fields["status"] == "failed"


def test_a_call_is_made_and_its_result_comes_behind_the_response() -> None:
    client = shopping({"mcp_call": {**CALL, "takes_ms": 700}})
    ask(client)
    flow = [kind for kind in since(client, "response.created") if "delta" not in kind]
    assert flow == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
        "response.mcp_call.completed",
        "conversation.item.done",
    ]
    began, ended = (client.time_ms(f"response.mcp_call.{x}") for x in ("in_progress", "completed"))
    assert ended - began == 700
    result = client.events[-1]["item"]
    assert (result["output"], result["error"]) == ("sent", None)
    assert json.loads(result["arguments"]) == {"number": 7}
    checked(client)


def test_a_call_that_fails_says_why() -> None:
    failure = {"type": "http_error", "code": 503, "message": "Unavailable"}
    client = shopping({"mcp_call": {**CALL, "fails": failure}})
    ask(client)
    assert "response.mcp_call.completed" not in client.types
    assert client.only("response.mcp_call.failed")["item_id"] == client.events[-1]["item"]["id"]
    assert client.events[-1]["item"]["error"] == failure
    assert client.events[-1]["item"]["output"] is None
    checked(client)


@pytest.mark.parametrize(
    ("rule", "is_asked"),
    [
        ("always", True),
        (None, True),
        ("never", False),
        ({"never": {"tool_names": ["find_order"]}}, False),
        ({"never": {"read_only": True}}, False),
        ({"never": {"tool_names": ["cancel_order"]}}, True),
        ({"always": {"tool_names": ["find_order"]}}, True),
    ],
)
def test_who_is_asked_before_a_call(rule: Any, is_asked: bool) -> None:
    client = shopping({"mcp_call": CALL}, rule=rule)
    ask(client)
    (item,) = client.only("response.done")["response"]["output"]
    assert item["type"] == ("mcp_approval_request" if is_asked else "mcp_call")
    assert ("response.mcp_call.in_progress" in client.types) is not is_asked
    checked(client)


def approve(client: Client, **answer: Any) -> None:
    (item,) = client.all("response.done")[-1]["response"]["output"]
    described = {"type": "mcp_approval_response", "approval_request_id": item["id"], **answer}
    client.send("conversation.item.create", item=described)
    client.send("response.create")
    client.wait(2000)


def test_what_is_approved_is_called_in_the_next_response() -> None:
    client = shopping({"mcp_call": CALL}, {"text": "It was sent."}, rule="always")
    ask(client)
    request = client.only("response.done")["response"]["output"][0]
    approve(client, approve=True)
    result = client.events[-1]["item"]
    assert (result["type"], result["approval_request_id"]) == ("mcp_call", request["id"])
    client.send("response.create")
    client.wait(1000)
    assert client.all("response.output_text.done")[-1]["text"] == "It was sent."
    checked(client)


def test_a_result_waits_for_all_that_its_response_says() -> None:
    call = {"mcp_call": {**CALL, "takes_ms": 50}}
    client = shopping({"items": [call, {"say": "I look that up, it takes a moment."}]})
    ask(client)
    client.wait(5000)
    done, result = (client.types.index(f"response.{x}") for x in ("done", "mcp_call.completed"))
    assert done < result
    checked(client)


def test_what_the_greeting_asks_about_is_called_in_the_next_response() -> None:
    client = Client({"greeting": {"mcp_call": CALL}, "mcp": {"shop": SHOP}})
    client.turn_detection(None)
    client.update(tools=[tool()])
    client.wait(1000)
    client.send("response.create")
    client.wait(2000)
    approve(client, approve=True)
    assert client.events[-1]["item"]["type"] == "mcp_call"
    checked(client)


def test_an_approval_whose_item_is_refused_has_approved_nothing() -> None:
    client = shopping({"mcp_call": CALL}, rule="always")
    ask(client)
    (item,) = client.only("response.done")["response"]["output"]
    answer = {"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": True}
    client.send("conversation.item.create", item=answer, previous_item_id="nowhere")
    assert "nowhere" in client.only("error")["error"]["message"]
    approve(client, approve=True)
    assert len(client.all("error")) == 1
    assert "response.mcp_call.completed" in client.types


def test_what_is_denied_is_not_called() -> None:
    client = shopping({"mcp_call": CALL}, {"text": "As you wish."}, rule="always")
    ask(client)
    approve(client, approve=False, reason="No.")
    assert "response.mcp_call.in_progress" not in client.types
    assert client.only("response.output_text.done")["text"] == "As you wish."
    assert [mark.fields["status"] for mark in client.marked("mcp_called")] == [
        "approval_requested",
        "denied",
    ]
    checked(client)


def test_an_approval_that_nobody_asked_for_is_refused() -> None:
    client = shopping()
    item = {"type": "mcp_approval_response", "approval_request_id": "none", "approve": True}
    client.send("conversation.item.create", item=item)
    error = client.only("error")["error"]
    assert error["param"] == "item.approval_request_id"
    assert "'none' not found" in error["message"]


def test_a_call_that_no_model_would_make_is_told() -> None:
    client = shopping(
        {"mcp_call": {**CALL, "name": "burn_down"}}, {"mcp_call": {**CALL, "server": "x"}}
    )
    for _ in range(2):
        ask(client)
    assert [mark.fields["why"] for mark in client.marked("call_undeclared")] == [
        "the server has listed no such tool",
        "no tool of the session is an MCP server with this label",
    ]


def test_a_server_that_a_session_has_no_more_is_not_called() -> None:
    client = shopping({"mcp_call": CALL})
    client.update(tools=[])
    ask(client)
    (told,) = client.marked("call_undeclared")
    assert told.fields["why"] == "no tool of the session is an MCP server with this label"


def test_what_a_response_says_of_approvals_holds_for_it_alone() -> None:
    client = shopping({"mcp_call": CALL}, {"mcp_call": CALL}, rule="always")
    content = [{"type": "input_text", "text": "Where is it?"}]
    for own in ({"tools": [tool(require_approval="never")]}, {}):
        item = {"type": "message", "role": "user", "content": content}
        client.send("conversation.item.create", item=item)
        client.send("response.create", response=own)
        client.wait(2000)
    kinds = [one["response"]["output"][0]["type"] for one in client.all("response.done")]
    assert kinds == ["mcp_call", "mcp_approval_request"]


def test_a_single_response_may_bring_its_own_server() -> None:
    client = Client({"mcp": {"shop": SHOP}})
    client.send("response.create", response={"tools": [tool()]})
    client.wait(1000)
    assert "mcp_list_tools.completed" in client.types
