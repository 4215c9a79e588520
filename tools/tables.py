"""Tables of the documentation, as Markdown, from the registries."""

import json
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

from scorers import as_markdown

from callerside.agent.observe.metrics import AgentMetrics
from callerside.agent.service.pages import own_registry
from callerside.agent.service.supervisor import WorkerPool
from callerside.fakes.session.faults import ANYWHERE, FAULTS, BaseFault
from callerside.fakes.session.refusals import REFUSALS, TAKEN
from callerside.mark_registry import MARKS, Field
from callerside.marks import Source
from callerside.models import descriptions
from callerside.registry import Entry
from callerside.reports.metrics.registry import METRICS, TOLERANCE, Metric
from callerside.simulator.calibration.speech import table as speech_table
from callerside.simulator.scenario.expectations import (
    DETAILED_EXPECTATIONS,
    EXPECTATIONS,
    LookedUp,
)
from callerside.simulator.scenario.steps import ACTIONS


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [
        header,
        ["---"] * len(header),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def docstring(model: type) -> str:
    """What a model's docstring says, on one line."""
    return " ".join(cleandoc(model.__doc__ or "").split())


def _examples(entry: Entry) -> str:
    return ", ".join(f"`{example}`" for example in entry.examples)


def steps() -> str:
    """What a caller can do."""
    return table(
        ["step", "its value", "what it has the caller do"],
        (
            [_examples(model.entry), model.entry.unit, docstring(model)]
            for model in ACTIONS.values()
        ),
    )


def expectations() -> str:
    """What `expect` and `never` know."""
    return table(
        ["`expect:`", "its value", "met when", "known"], map(_expectation, EXPECTATIONS.values())
    )


def _expectation(entry: Entry) -> list[str]:
    model = DETAILED_EXPECTATIONS.get(entry.name)
    met = docstring(model) if model else entry.says
    known = "after the call" if model and issubclass(model, LookedUp) else "at once"
    return [_examples(entry), entry.unit, met, known]


def faults() -> str:
    """What can go wrong with a session of the fake server."""
    return table(
        ["fault", "strikes at", "keys, and their defaults", "what happens"],
        (
            [f"`{name}`", _places(kind), _keys(kind), docstring(kind)]
            for name, kind in FAULTS.items()
        ),
    )


def refusals() -> str:
    """What the fake server refuses, and how that is known."""
    return table(
        ["what is checked", "`code`", "words", "known by", "how sure", "`--lenient`"],
        (
            [
                one.what,
                f"`{one.code}`",
                one.words.replace("|", "\\|"),
                f"{one.evidence}: {one.source}" if one.source else one.evidence,
                one.sure,
                one.leniently,
            ]
            for one in REFUSALS.values()
        ),
    )


def taken() -> str:
    """What the fake server takes though the real one may not, and what is known of it."""
    return table(["what is taken", "what is known"], map(list, TAKEN))


def _places(kind: type[BaseFault]) -> str:
    if kind.places == ANYWHERE:
        return "any point"
    return ", ".join(f"`{place}`" for place in sorted(kind.places))


def _keys(kind: type[BaseFault]) -> str:
    return " ".join(
        f"`{key}`{'' if field.default in (None, '') else f' ({field.default})'}: "
        f"{descriptions(kind)[key]}"
        for key, field in kind.model_fields.items()
        if key not in (*BaseFault.model_fields, "fault")
    )


def marks(source: Source) -> str:
    """The marks that one source writes."""
    return table(
        ["name", "fields", "when"],
        (
            [
                f"`{kind.name}`",
                "<br>".join(_field(name, field) for name, field in kind.fields.items()),
                kind.meaning,
            ]
            for kind in MARKS[source].values()
        ),
    )


def _field(name: str, field: Field) -> str:
    """As `status?`: whole number, of HTTP."""
    expected = " or ".join(f"`{word}`" for word in field.words) or field.kind
    unit = f" of {field.unit}" if field.unit and not field.words else ""
    told = [f"{expected}{unit}", *(["or null"] if field.nullable else []), field.meaning]
    return f"`{name}{'?' if field.optional else ''}`: {', '.join(filter(None, told))}"


def metrics() -> str:
    """What is measured, from what, and its default limit."""
    return table(
        ["metric", "unit", "from → to", "measured from", "default limit"],
        (
            [
                f"`{metric.name}`",
                metric.unit,
                metric.meaning,
                ", ".join(metric.sources),
                _limit(metric),
            ]
            for metric in METRICS.values()
        ),
    )


def _limit(metric: Metric) -> str:
    """The default limit in words."""
    match metric.budget:
        case None:
            return metric.budget_note
        case {"above_own": more}:
            return f"{metric.own_delay} + {more}"
        case {"target": target, "within": within}:
            return f"{target} ± {within}" if target else f"± {within}"
        case {**variants} if variants:
            return ", ".join(f"{limit} {variant}" for variant, limit in variants.items())
        case number:
            return f"{number}"


def bounds() -> str:
    """What each metric's error bound comes from."""
    return table(
        ["metric", "its error bound comes from"],
        ([f"`{metric.name}`", metric.bounded_by] for metric in METRICS.values()),
    )


def tolerances() -> str:
    """How much worse is no regression."""
    all_of_them = METRICS.values()
    own = [
        [f"`{m.name}`", ": ".join(filter(None, [f"{m.tolerance:g} {m.unit}", m.tolerance_note]))]
        for m in all_of_them
        if m.tolerance is not None
    ]
    never = [
        [f"`{m.name}`", "never a regression: it is not about the agent"]
        for m in all_of_them
        if not m.of_the_agent
    ]
    others = ["all others", f"{TOLERANCE:g} ms: half a packet"]
    return table(["metric", "tolerance"], [*own, *never, others])


def truths() -> str:
    """What a calibration holds each metric against."""
    return table(
        ["metric", "what is true"],
        ([f"`{m.name}`", m.truth or f"none: {m.without_error}"] for m in METRICS.values()),
    )


def prometheus() -> str:
    """The agent's metrics, as its collectors declare them."""
    pool = WorkerPool(1, lambda *_: [], drain_limit_ms=0, on_ready=lambda _: None)
    registries = AgentMetrics(process=False).registry, own_registry(pool)
    # What a collector tells has labels only once something was counted; how it was made, always.
    collectors = [one for registry in registries for one in registry._collector_to_names]  # noqa: SLF001
    return table(["metric", "labels", "what"], map(_collector, collectors))


def _collector(collector: Any) -> Sequence[str]:
    name = collector._name + "_total" * (collector._type == "counter")  # noqa: SLF001
    return f"`{name}`", ", ".join(collector._labelnames), collector._documentation  # noqa: SLF001


ERRORS_ON_SPEECH = Path(__file__).parent.parent / "docs" / "error-on-speech.json"
"""What `callerside calibrate --speech --json` printed last."""


def errors_on_speech() -> str:
    """How far off the ear is on speech, line by line."""
    data = json.loads(ERRORS_ON_SPEECH.read_bytes())
    return f"{data['calls']} calls.\n\n{speech_table.as_markdown(speech_table.from_data(data))}"


SCORERS = Path(__file__).parent.parent / "docs" / "scorers.json"
"""What `nox -s scorers -- docs/scorers.json` kept last."""


def other_scorers() -> str:
    """Other people's scorers beside ours, on the same calls."""
    return as_markdown(json.loads(SCORERS.read_bytes()))


def worst_errors_on_speech() -> str:
    """The same for the README: p95 on the lines that most calls are like."""
    data = json.loads(ERRORS_ON_SPEECH.read_bytes())
    return speech_table.for_readme(speech_table.from_data(data))
