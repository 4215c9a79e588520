"""`junit.xml`: a run for continuous integration, with every number as a property."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET  # only written, never parsed

from callerside.reports.verdict.call_result import CallResult
from callerside.reports.verdict.outcome import called
from callerside.reports.verdict.results import RunInfo

_LAST_LINES = 20
_NO_CHAR = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(info: RunInfo, calls: Sequence[CallResult]) -> bytes:
    """One test suite, one test case a call (the dialect that Jenkins and GitLab read)."""
    cases = [_case(call) for call in calls]
    problem = _of_the_run(info, calls)
    cases += [] if problem is None else [problem]
    suite = ET.Element(
        "testsuite",
        name=f"callerside.{info.lane}",
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
        time=f"{sum(map(_seconds, calls)):.3f}",
        timestamp=info.started_at[:19],
    )
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="harness_error", value=info.harness_error)
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _count(cases: Sequence[ET.Element], what: str) -> int:
    return sum(case.find(what) is not None for case in cases)


def _of_the_run(info: RunInfo, calls: Sequence[CallResult]) -> ET.Element | None:
    """A case for what no call of the run shows: it could not go on, or too little was measured."""
    outcome = info.outcome(calls)
    if not (info.failure or outcome.verdict == "not measured"):
        return None
    case = ET.Element("testcase", classname=f"callerside.{info.lane}", name="the run")
    message = _printable("\n".join(outcome.why))
    problem = ET.SubElement(case, "error", message=message.partition("\n")[0], type=outcome.verdict)
    problem.text = message
    return case


def _case(call: CallResult) -> ET.Element:
    info = call.evidence.info
    case = ET.Element(
        "testcase",
        classname=f"callerside.{info.lane}",
        name=call.slug,
        time=f"{_seconds(call):.3f}",
    )
    properties = ET.SubElement(case, "properties")
    parts = {"behaviour": call.behaviour.verdict, "timing": call.timing.verdict}
    for name, value in {**parts, "verdict": called(call), "attempts": len(call.attempts)}.items():
        ET.SubElement(properties, "property", name=name, value=str(value))
    for one in call.judged:
        suffix = f".turn{one.turn}" if one.turn is not None else ""
        suffix += f".{one.statistic}" if one.statistic else ""
        ET.SubElement(properties, "property", name=one.name + suffix, value=f"{one.value:.3f}")
    for warning in call.warnings:
        ET.SubElement(properties, "property", name="warning", value=_printable(warning))
    if call.warnings:
        told = ET.SubElement(case, "system-out")
        told.text = _printable("\n".join(f"Warning: {warning}." for warning in call.warnings))
    detail = _printable(call.detail)
    if call.known or call.verdict == "not measured":
        ET.SubElement(case, "skipped", message=detail)
    elif call.verdict == "flaky":  # as Surefire writes it, and Jenkins and GitLab read it
        ET.SubElement(case, "flakyFailure", message=detail, type="flaky")
    elif call.verdict != "passed":
        kind = "failure" if call.verdict == "failed" else "error"
        problem = ET.SubElement(case, kind, message=detail, type=kind)
        problem.text = _printable("\n".join([call.detail, *info.log[-_LAST_LINES:]]))
    return case


def _seconds(call: CallResult) -> float:
    marks = call.evidence.marks
    return (marks[-1].at_ns - marks[0].at_ns) / 1e9 if marks else 0.0


def _printable(text: str) -> str:
    """With U+FFFD for what XML 1.0 cannot hold, not even escaped (section 2.2, `Char`)."""
    return _NO_CHAR.sub("\ufffd", text)
