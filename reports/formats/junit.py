"""`junit.xml`: a run for continuous integration, with every number as a property."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET  # only written, never parsed

from callerside.reports.verdict.results import CallResult, RunInfo

_LAST_LINES = 20


def junit(info: RunInfo, calls: Sequence[CallResult]) -> bytes:
    """One test suite, one test case a call (the dialect that Jenkins and GitLab read)."""
    excused = {call.slug for call in calls if call.slug in info.excused}
    errors = [call for call in calls if call.verdict == "error" and call.slug not in excused]
    suite = ET.Element(
        "testsuite",
        name=f"callerside.{info.lane}",
        tests=str(len(calls) + bool(info.failure)),
        failures=str(sum(call.verdict == "failed" for call in calls)),
        errors=str(len(errors) + bool(info.failure)),
        skipped=str(len(excused)),
        time=f"{sum(map(_seconds, calls)):.3f}",
        timestamp=info.started_at[:19],
    )
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="harness_error", value=info.harness_error)
    for call in calls:
        suite.append(_case(call, excused=call.slug in excused))
    if info.failure:
        case = ET.SubElement(suite, "testcase", classname=f"callerside.{info.lane}", name="the run")
        message = _printable(info.failure)
        ET.SubElement(
            case, "error", message=message.partition("\n")[0], type="error"
        ).text = message
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _case(call: CallResult, *, excused: bool) -> ET.Element:
    info = call.evidence.info
    name = info.again or call.slug
    case = ET.Element(
        "testcase", classname=f"callerside.{info.lane}", name=name, time=f"{_seconds(call):.3f}"
    )
    properties = ET.SubElement(case, "properties")
    for one in call.judged:
        suffix = f".turn{one.turn}" if one.turn is not None else ""
        suffix += f".{one.statistic}" if one.statistic else ""
        ET.SubElement(properties, "property", name=one.name + suffix, value=f"{one.value:.3f}")
    if excused:
        ET.SubElement(case, "skipped", message=_printable(call.detail))
    elif call.verdict != "passed":
        kind = "failure" if call.verdict == "failed" else "error"
        problem = ET.SubElement(case, kind, message=_printable(call.detail), type=kind)
        problem.text = _printable("\n".join([call.detail, *info.log[-_LAST_LINES:]]))
    return case


def _seconds(call: CallResult) -> float:
    marks = call.evidence.marks
    return (marks[-1].at_ns - marks[0].at_ns) / 1e9 if marks else 0.0


def _printable(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c >= " " or c in "\n\t")
