"""Functions that a script's model calls as no agent can run them: before a call, and after it.

A script's model goes on whatever a function answers. So a call whose arguments do not fit, of a
function that nobody offers, or that meant a real one, would pass, and show nothing. Arguments are
judged alike whatever is wrong with them: no JSON, a key that is missing, a value of another type.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from callerside.agent.call.builtin_tools import declarations
from callerside.agent.config.settings import CallSettings, Settings, ToolSettings
from callerside.agent.tools.interface import ToolError
from callerside.agent.tools.stub import WRONG_ARGUMENTS
from callerside.fakes.script.reply import FunctionCall, Reply
from callerside.json_schema import problem_with
from callerside.marks import Mark, Source
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.runner.answers import is_answer_heard
from callerside.simulator.scenario.model import Scenario
from callerside.yaml.errors import nearest

Where = tuple[str | int, ...]

_REFUSED = "stub_refused"
_UNDECLARED = "call_undeclared"
_MISSING = "call_missing"


def judge_functions(scenario: Scenario, marks: Sequence[Mark]) -> tuple[list[str], list[str]]:
    """What was called that could not be, or must not be.

    Args:
        scenario: what was played; what it expects (`{mark: stub_refused}`) is no failure.
        marks: of all parties, in order of time.

    Returns:
        Sentences that fail the call: a real function was called that must not be, or the caller
        heard no answer afterwards. And warnings: the caller has heard one.
    """
    failures, warnings = [], []
    refused = {mark.fields.get("name") for mark in marks if mark.name == _REFUSED}
    for mark in marks:
        told = _told(mark)
        if not told or _is_expected(scenario, _signs(mark)):
            continue
        if mark.name == _UNDECLARED and mark.fields.get("name") in refused:
            continue  # the stub has said why
        if mark.name == _REFUSED and not mark.fields["reason"].startswith(WRONG_ARGUMENTS):
            failures.append(told)
        elif is_answer_heard([one for one in marks if one.at_ns >= mark.at_ns]):
            warnings.append(told)
        else:
            failures.append(f"{told}, and the caller heard no answer behind it")
    return failures, warnings


def _told(mark: Mark) -> str:
    """What is wrong with a call, or that there is none; empty if nothing is."""
    name, fields = mark.fields.get("name"), mark.fields
    if mark.name == _REFUSED:
        return f"{name} was refused: {fields['reason']}"
    if mark.name == _UNDECLARED:
        return f"the model called {name}, but {fields['why']}"
    return f"the model called nothing, but {fields['why']}" if mark.name == _MISSING else ""


def _signs(mark: Mark) -> list[Mark]:
    """The mark, and what of the agent's would tell the same: whoever expects one means it."""
    name = mark.fields.get("name")
    finished = {"name": name, "call_id": "", "ok": False, "took_ms": 0.0}
    return [
        mark,
        Mark(at_ns=0, call="", source="agent", name="tools_withheld", fields={"tries": 1}),
        Mark(at_ns=0, call="", source="agent", name="tool_finished", fields=finished),
    ]


def _is_expected(scenario: Scenario, signs: Sequence[Mark]) -> bool:
    """Whether the scenario looks up one of them."""
    return any(one.is_told_by(sign) for one in scenario.looked_up for sign in signs)


def doubtful_calls(scenario: Scenario, replies: Iterable[tuple[Where, Reply]]) -> Iterator[str]:
    """One line for each call in these replies that the agent could not make, with its place."""
    for where, call in _scripted(replies):
        told, sign = _doubt(scenario, call)
        signs = [*_signs(sign), _mark(_UNDECLARED, "realtime", call.name)]
        if told and not _is_expected(scenario, signs):
            yield f"{scenario.at(*where)}: {told}"


def _doubt(scenario: Scenario, call: FunctionCall) -> tuple[str, Mark]:
    """What is wrong with a scripted call, if anything is, and the mark that would tell it."""
    tools = _tools(scenario)
    offered, name = _offered(scenario), call.name
    undeclared = _mark(_UNDECLARED, "realtime", name)
    if call.raw_arguments is not None and not _is_object(call.raw_arguments):
        return f"{name}: these arguments are no JSON object", _mark(_REFUSED, "agent", name)
    if name not in offered:
        if tools.module or (tools.mcp and tools.real):
            return "", undeclared  # nobody knows what they offer before they are asked
        stub = f"give it a stub (agent.tools.stub.{name})"
        if tools.mcp:
            stub += ": servers of agent.tools.mcp are not asked what they offer"
        near = nearest(name, offered)
        return f'the agent offers no function "{name}"{near}: {stub}', undeclared
    refused = _mark(_REFUSED, "agent", name)
    if name in tools.http and name not in tools.stub and not tools.real:
        return f"{name} is not called for real: give it a stub (agent.tools.stub.{name})", refused
    arguments = call.arguments if call.raw_arguments is None else json.loads(call.raw_arguments)
    schema = offered[name]
    wrong = None if schema is None else problem_with(arguments, schema)
    return f"{name}: wrong arguments: {wrong}" if wrong else "", refused


def _mark(name: str, source: Source, function: str) -> Mark:
    fields = {"name": function, "call_id": "", "reason": "", "why": ""}
    return Mark(at_ns=0, call="", source=source, name=name, fields=fields)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except (ValueError, RecursionError):
        return False


def unofferable(planned_calls: Sequence[PlannedCall]) -> dict[str, str]:
    """By name, the calls whose functions cannot be offered to the model, each with the reason.

    Modules are imported and MCP servers asked as the agent does at its start: one that is missing
    is the business of the calls that need it. So is a call for those that come after it.
    """
    found: dict[str, str] = {}
    known: dict[str, ToolError | None] = {}
    for planned in planned_calls:
        scenario = planned.scenario
        tools = {"real": False, **scenario.agent.get("tools", {})}
        settings = json.dumps([tools, scenario.agent.get("limits")], sort_keys=True, default=str)
        if settings not in known:
            known[settings] = _why_not({**scenario.agent, "tools": tools})
        error = known[settings]
        if error is not None:
            found[planned.name] = f"{_place_of(scenario, str(error))}: {error}"
        elif planned.after in found:
            found[planned.name] = f"{scenario.at('after')}: {planned.after} cannot be played"
    return found


def _why_not(agent: Mapping[str, Any]) -> ToolError | None:
    """Why an agent with these settings would not start."""
    if agent["tools"].keys() <= {"real"}:
        return None
    from callerside.agent.tools.toolboxes import Toolboxes

    try:
        Toolboxes(Settings.model_validate({**agent, "routes": []}))
    except ToolError as error:
        return error
    return None


def _place_of(scenario: Scenario, complaint: str) -> str:
    """Where the file speaks of what a complaint names first: `tools.mcp.shop: ...`."""
    named = complaint.partition(":")[0].split(".")
    return scenario.at("agent", *(named if named[0] == "tools" else ("tools",)))


def _tools(scenario: Scenario) -> ToolSettings:
    """The agent's, of which none is real unless the scenario says so."""
    own = scenario.agent.get("tools", {})
    return CallSettings.model_validate({**scenario.agent, "tools": {"real": False, **own}}).tools


def _offered(scenario: Scenario) -> Mapping[str, Mapping[str, Any] | None]:
    """The functions that the settings name, each with the schema of its arguments.

    Without those of a module, and of servers: None is the schema of a stub that may be theirs.
    """
    tools = _tools(scenario)
    elsewhere = tools.module is not None or bool(tools.mcp and tools.real)
    offered: dict[str, Mapping[str, Any] | None] = {
        str(one["name"]): one["parameters"] for one in declarations(tools)
    }
    for name, stub in tools.stub.items():
        is_declared = "parameters" in stub.model_fields_set or not elsewhere
        offered[name] = stub.parameters if is_declared else None
    return offered | {name: http.parameters for name, http in tools.http.items()}


def _scripted(replies: Iterable[tuple[Where, Reply]]) -> Iterator[tuple[Where, FunctionCall]]:
    """All calls of the agent's functions, each with its place in the file."""
    for where, reply in replies:
        if reply.function_call is not None:
            yield (*where, "function_call"), reply.function_call
        for number, call in enumerate(reply.function_calls):
            yield (*where, "function_calls", number), call
        for number, item in enumerate(reply.items):
            if item.function_call is not None:
                yield (*where, "items", number, "function_call"), item.function_call
