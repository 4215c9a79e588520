"""A scenario is played once against a real server, and from then on without one.

Beside `NAME.yaml` come `NAME.realtime`, what agent and server have said to each other, and
`NAME-recorded.yaml`: the same scenario, whose server says what was recorded.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from callerside.agent.telephony.engine import EngineChoice
from callerside.atomic_files import write_all_atomically
from callerside.fakes.recording.as_script import script_of
from callerside.fakes.recording.comparison import differences
from callerside.fakes.recording.format import Recording, RecordingError, read_recording
from callerside.fakes.script.model import Script
from callerside.fakes.script.reply import Reply
from callerside.fakes.server.addresses import is_loopback, parts_of, why_no_websocket
from callerside.reports.evidence import TIMELINE
from callerside.simulator.caller.recorder import CALLER_RATE_HZ
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.lanes.sip.child_process import ProcessError
from callerside.simulator.lanes.sip.config import Upstream
from callerside.simulator.lanes.sip.lane import SipLane
from callerside.simulator.runner.expectations_after import check
from callerside.simulator.runner.functions import judge_functions
from callerside.simulator.runner.plan import plan
from callerside.simulator.runner.run import begin_run, see_that_engines_can
from callerside.simulator.runner.selection import RunError, choose
from callerside.simulator.runner.speech import SpeechError, prepare_all
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.suite import SUITE_FILE, load_suite
from callerside.timelines import read_timeline
from callerside.yaml.variables import merge

SUFFIX = "-recorded"
_KEYS_LINE_CHARS = 100
_KEPT_AT_API = ("prompts", "mcp")


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """What `callerside record` was asked for."""

    path: Path
    upstream: str
    key: str | None
    """Of the upstream server, from the environment."""
    keep_audio: bool = False
    """The caller's, too."""
    refresh: bool = False
    """There is a recording already, and it is to be made anew."""
    out: Path = Path("out")
    engine: EngineChoice = "auto"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What came of it."""

    recording: Path
    """Beside the scenario; of a call that did not go as scripted, in the run's directory."""
    scenario: Path | None
    """What plays it; None where the call did not go as scripted."""
    detail: str
    """Why it did not."""
    sessions: int
    """How many the agent has had; the first is the recording."""
    changes: tuple[str, ...]
    """What the new recording says and the one before it did not, and the other way round."""


def record(options: RecordOptions, on_phase: Callable[[str, str], None]) -> Recorded:
    """Play the scenario at `options.path`, once, over SIP, and write down what the server says.

    A call that does not go as its scenario says, as far as caller and agent tell, leaves what is
    beside the scenario as it was. So does what cannot be written.

    Raises:
        RunError: it could not be played, or there is nothing to write.
    """
    scenario = _the_one(options.path)
    recording, target = beside(scenario)
    before = _before(options, recording, target)
    _see_that_it_can_be_reached(options)
    see_that_engines_can(options.engine, options.engine, [scenario])
    _with_realtime(scenario, "")  # whatever is in the way of that is in the way of a call
    planned = plan([scenario], repeat=1, seed=0)
    run = begin_run(options.out)
    directory = run.directory
    try:
        prepare_all(planned, CALLER_RATE_HZ)
    except SpeechError as error:
        run.withdraw()
        raise RunError(str(error)) from None
    raw = directory.resolve() / recording.name
    try:
        detail = asyncio.run(_play(planned[0], options, raw, on_phase))
    except ProcessError as error:
        raise RunError(f"{error}\nThe logs are in {directory / 'work' / 'logs'}") from None
    if not raw.exists():
        why = detail or "the agent had no session with it"
        raise RunError(f"{options.upstream}: nothing was recorded: {why}")
    sessions = len(list(raw.parent.glob(f"{raw.stem}*.realtime")))
    if detail:
        return Recorded(
            recording=directory / raw.name,
            scenario=None,
            detail=detail,
            sessions=sessions,
            changes=(),
        )
    try:
        now = read_recording(raw)
        text = _scenario_text(scenario, now, raw)
        write_all_atomically({recording: raw.read_bytes(), target: text.encode()})
    except RecordingError as error:
        raise RunError(str(error)) from None
    except OSError as error:
        raise RunError(f"{error.filename}: cannot be written: {error.strerror}") from None
    changes = () if before is None else tuple(differences(before, now))
    return Recorded(
        recording=recording, scenario=target, detail="", sessions=sessions, changes=changes
    )


def beside(scenario: Scenario) -> tuple[Path, Path]:
    """Where a scenario's recording lies, and the scenario that plays it."""
    path = scenario.path or Path(scenario.name)
    return path.with_suffix(".realtime"), path.with_name(f"{path.stem}{SUFFIX}.yaml")


def _the_one(path: Path) -> Scenario:
    scenarios = choose([path], None, None)
    if len(scenarios) != 1 or scenarios[0].is_one_of_many:
        names = ", ".join(one.name for one in scenarios[:5])
        raise RunError(
            f"{path}: a recording is of one call, and this is {len(scenarios)} ({names}): name a "
            "scenario without matrix, rows and after"
        )
    (scenario,) = scenarios
    if scenario.callers.count > 1:
        raise RunError(f"{scenario.at('callers')}: a recording is of one call: expected one caller")
    if "sip" not in scenario.lanes:
        raise RunError(f"{scenario.at('lanes')}: expected sip in it: a real server is called so")
    if scenario.path is not None and scenario.path.stem.endswith(SUFFIX):
        raise RunError(f"{scenario.path}: plays a recording already: name the one it was made of")
    return scenario


def _before(options: RecordOptions, recording: Path, target: Path) -> Recording | None:
    """The recording that is to be made anew, if one is."""
    there = [path for path in (recording, target) if path.exists()]
    if there and not options.refresh:
        raise RunError(f"{there[0]}: is there already: --refresh records it anew")
    if not options.refresh:
        return None
    try:
        return read_recording(recording)
    except RecordingError as error:
        raise RunError(f"--refresh: {error}") from None


def _see_that_it_can_be_reached(options: RecordOptions) -> None:
    why = why_no_websocket(options.upstream)
    if why is not None:
        raise RunError(f"--upstream {options.upstream}: {why}")
    parts = parts_of(options.upstream)
    if is_loopback(parts.hostname or ""):
        return
    if options.key is None:
        raise RunError(f"{options.upstream}: OPENAI_API_KEY is not set")
    if parts.scheme != "wss":
        raise RunError(f"--upstream {options.upstream}: expected wss://, as it gets a key")


async def _play(
    planned: PlannedCall,
    options: RecordOptions,
    raw: Path,
    on_phase: Callable[[str, str], None],
) -> str:
    """Play the call; why it did not go as scripted, or nothing."""
    upstream = Upstream(
        url=options.upstream, recording=raw, keep_audio=options.keep_audio, key=options.key
    )
    async with SipLane(
        [planned],
        raw.parent,
        on_phase,
        calls_at_once=1,
        engine=options.engine,
        caller_engine=options.engine,
        upstream=upstream,
    ) as lane:
        played = await lane.play(planned)
    if played.verdict != "passed":
        return played.detail or played.verdict
    marks = read_timeline(played.directory / TIMELINE)
    complaints = check(planned.scenario, marks, told={"agent", "caller"})
    return "; ".join([*complaints, *judge_functions(planned.scenario, marks)[0]])


def _scenario_text(scenario: Scenario, recording: Recording, path: Path) -> str:
    """The scenario's file with another `realtime:`; all else stays as it is written."""
    said = yaml.safe_dump(
        {"realtime": _over_suite(script_of(recording, path), scenario)},
        allow_unicode=True,
        sort_keys=False,
        width=_KEYS_LINE_CHARS,
    )
    source = recording.header.source or "a server"
    note = (
        f"# As {source} said it at {recording.header.recorded_at};\n"
        f"# `callerside record {scenario.name} --upstream URL --refresh` writes this file anew.\n"
    )
    return _with_realtime(scenario, note + said)


def _with_realtime(scenario: Scenario, section: str) -> str:
    return replace_section(scenario.text, "realtime", section)


def _over_suite(script: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """The script with what takes back what the scenario's suite would mix into it.

    What is kept at the API (prompts, MCP servers) stays: that is not the server's own doing.
    """
    suite = (scenario.path or Path()).parent / SUITE_FILE
    shared = load_suite(suite).data.get("realtime", {}) if suite.is_file() else {}
    of_suite = {key: value for key, value in shared.items() if key not in _KEPT_AT_API}
    defaults = dict(Script())
    if "greeting" in script:
        defaults["greeting"] = Reply.model_construct()  # not what the fake says by itself
    undone = _taken_back(of_suite, defaults)
    return merge(undone, script)


def _taken_back(shared: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of all that is shared; what a mapping says is replaced key by key."""
    undone: dict[str, Any] = {}
    for key, value in shared.items():
        default = defaults[key]
        if isinstance(value, Mapping) and isinstance(default, BaseModel):
            undone[key] = _taken_back(value, dict(default))
        else:
            undone[key] = to_jsonable_python(default)
    return undone


def replace_section(text: str, key: str, section: str) -> str:
    """A file of YAML whose top-level `key` is `section`; put at the end where there is none.

    Raises:
        RunError: the file is not written in lines.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise RunError("the scenario is written in braces: expected a key on each line")
    lines = text.splitlines(keepends=True)
    begins = [name.start_mark.line for name, _ in root.value]
    for number, (name, _) in enumerate(root.value):
        if name.value == key:
            end = begins[number + 1] if number + 1 < len(begins) else len(lines)
            while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
                end -= 1  # what stands above the next key is about that
            return "".join((*lines[: begins[number]], section, *lines[end:]))
    whole = text if text.endswith("\n") else text + "\n"
    return whole + section
