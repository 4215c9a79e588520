"""mypy knows the marks where they are written, and where they are looked for.

What is wrong here is wrong on purpose. `nox -s types` finds it: were one of these calls taken for
right, mypy would say that the comment which allows it is of no use.
"""

from callerside.agent.call.context import CallContext
from callerside.fakes.session.context import SessionOutput
from callerside.reports.evidence import CallEvidence
from callerside.simulator.caller.machine import CallerMachine


def of_the_agent(context: CallContext, reason: str) -> None:
    context.mark("answered")
    context.mark("realtime_failed", {"reason": reason, "status": 503})
    context.mark("realtime_failed", {"reason": reason})
    context.mark("answerd")  # type: ignore[misc] # no such mark
    context.mark("answer_sent")  # type: ignore[misc] # without its field
    context.mark("answer_sent", {"satus": 200})  # type: ignore[typeddict-item]
    context.mark("answer_sent", {"status": "200"})  # type: ignore[typeddict-item]
    context.mark("realtime_failed", {"status": 503})  # type: ignore[typeddict-item]


def of_the_fake(output: SessionOutput, more: dict[str, str]) -> None:
    output.mark("response_done", response="r1", status="completed")
    output.mark("response_done", response="r1", status="failed", **more)
    output.mark("respons_done", response="r1")  # type: ignore[misc] # no such mark
    output.mark("response_done", response="r1")  # type: ignore[call-arg]
    output.mark("response_done", response="r1", state="completed")  # type: ignore[call-arg]
    output.mark("response_done", response="r1", status=200)  # type: ignore[arg-type]


def of_the_caller(machine: CallerMachine) -> None:
    machine._mark(0, "call_dialed", uri="sip:a@b")
    machine._mark(0, "call_dialled", uri="sip:a@b")  # type: ignore[misc] # no such mark
    machine._mark(0, "call_dialed", url="sip:a@b")  # type: ignore[call-arg]


def of_a_report(evidence: CallEvidence) -> None:
    evidence.first("agent", "answered")
    evidence.find("agent", "playout_started", "greeting_started", after_ns=1)
    evidence.first("caller", "answered")  # type: ignore[misc] # the agent's, not the caller's
    evidence.find("agent", "playout_started", "greeting_strated")  # type: ignore[misc]
