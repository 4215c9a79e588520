"""The project's jobs: `nox -l` lists them, `nox -s NAME -- ARGUMENTS` runs one.

Every job makes its own virtual environment from `constraints.txt`, so that the same command does
the same next year.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "types", "tests", "scenarios"]
nox.options.reuse_existing_virtualenvs = True
nox.needs_version = ">=2025.2.9"

SUPPORTED = ((3, 11), (3, 12), (3, 13))
MACHINES = ("tests/agent/call", "tests/fakes/session", "tests/simulator/caller")
"""The tests of the three machines, which are where behaviour is: no I/O, no waiting."""
OTHERS = tuple(
    f"{major}.{minor}" for major, minor in SUPPORTED if (major, minor) != sys.version_info[:2]
)
ON_EACH_PYTHON = (
    *MACHINES, "tests/agent/telephony", "tests/conformance/test_sip_engines.py",
)  # fmt: skip
INSTALLED = ("tests/test_distribution.py", "tests/e2e/test_image.py")
ATTACKS = ("tests/attack", "tests/agent/telephony/test_screening.py")
ADMISSION = "tests/e2e/test_sip_admission.py"
"""Which `tests` plays, too."""
FEW_CALLS = ("first_call", "barge_in")
CLIENTS = {
    "openai": ("openai[realtime]", {"newest": "3.57.0", "oldest": "2.0.0"}),
    "openai_agents": ("openai-agents", {"newest": "0.24.0", "oldest": "0.20.0"}),
    "livekit": ("livekit-agents[openai]", {"newest": "1.8.9", "oldest": "1.6.0"}),
    "pipecat": ("pipecat-ai[openai]", {"newest": "1.14.0", "oldest": "1.4.0"}),
    "pydantic_ai": ("pydantic-ai-slim[openai]", {"newest": "2.68.0", "oldest": "2.50.0"}),
}
"""Of the Realtime API: the package of each, and its versions: docs/fake-realtime.md."""
CLIENTS_IN_NODE = {
    "openai_npm": ("openai", "ws", {"newest": "7.59.0", "oldest": "6.0.0"}),
    "agents_npm": ("@openai/agents-realtime", "zod", {"newest": "0.20.0", "oldest": "0.4.0"}),
}
"""Likewise, with what each needs beside it."""
MADE = (
    "tests/reports/metrics/test_truth.py",
    "tests/reports/hearing/test_edge_bounds.py", "tests/reports/hearing/test_random_faults.py",
)  # fmt: skip
"""Calls and faults made by hand, of which all is known."""
SCORERS = ("hotato==1.20.0", "callback-voice==0.1.2")
"""Of recordings, by others: the versions of which docs/metrics.md speaks."""
SDKS = ("3.54.0", "3.57.0")
"""Of the official client: the oldest that pyproject.toml allows, and the newest that was tried."""
HELD_TO_THE_SDK = (
    "tests/fakes/session/test_every_event.py", "tests/fakes/session/test_beta_dialect.py",
    "tests/fakes/session/test_nulls.py", "tests/fakes/session/test_mcp_tools.py",
    "tests/fakes/session/test_transcription_sessions.py",
    "tests/fakes/server/test_official_client.py", "tests/fakes/server/test_http_api.py",
)  # fmt: skip
MOST_PROCESSES = 8
"""Of tests: each takes up to 400 MB, and the longest file would be waited for in any case."""
COULD_NOT_RUN = {f"Returned code {code}" for code in (2, 3, 4)}
"""Of `callerside run`: 2. Of pytest: 2 for files it cannot read, 3 its own bug, 4 arguments."""


def _install(session: nox.Session, extras: str) -> None:
    """Install the project and the named extras at the locked versions."""
    if sys.version_info[:2] not in SUPPORTED:
        session.error(
            f"this nox runs on Python {sys.version_info[0]}.{sys.version_info[1]}, and callerside "
            "was tried on 3.11 to 3.13: make the virtual environment with one of these"
        )
    session.install("-q", "-c", "constraints.txt", "-e", f".[{extras}]")
    # A job starts hundreds of processes, and each would compile all of callerside before it begins.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""


def _run(session: nox.Session, *command: str) -> None:
    """As `session.run`; ends nox with 2 if the command could not run, which nox itself makes 1."""
    try:
        session.run(*command)
    except CommandFailed as failed:
        if failed.reason in COULD_NOT_RUN:
            sys.exit(2)
        raise


@nox.session
def lint(session: nox.Session) -> None:
    """Style (ruff), the doors between the rooms (import-linter), pages made from the code."""
    _install(session, "sim,lint")
    _lint(session)


def _lint(session: nox.Session) -> None:
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo", silent=True)
    session.run("python", "tools/reference.py", "--check")
    session.run("python", "tools/phrases.py", "--check")


@nox.session
def reference(session: nox.Session) -> None:
    """Write what is made from the code where it is stale: pages, parts of pages, speech."""
    _install(session, "sim,languages")
    session.run("python", "tools/reference.py")
    session.run("python", "tools/phrases.py")


@nox.session
def types(session: nox.Session) -> None:
    """Types: mypy, strict, over everything."""
    _install(session, "sim,languages,test,lint")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, in several processes; arguments go to pytest: `nox -s tests -- -n 0 -k slow`."""
    _install(session, "sim,languages,test")
    _run(session, "pytest", *_side_by_side(), *session.posargs)


def _side_by_side() -> tuple[str, ...]:
    """What has pytest play files in several processes, as tests/support/side_by_side.py says.

    Calls wait more than they work: for them three more than there are processors, and one for what
    computes.
    """
    processes = min(MOST_PROCESSES, 4 + _processors())
    return "-n", str(processes), "--dist", "loadfile"


def _processors() -> int:
    """Those that this process may use; os.process_cpu_count is not in every Python."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@nox.session
def installed(session: nox.Session) -> None:
    """What is installed from the wheel and in the image built for containers: it works."""
    _install(session, "sim,languages,test")
    _run(session, "pytest", "-q", *INSTALLED, *session.posargs)


@nox.session
def quick(session: nox.Session) -> None:
    """For while you work: lint, types, and the machines' tests, with what their caches know."""
    _install(session, "sim,languages,test,lint")
    _lint(session)
    session.run("mypy")
    _run(session, "pytest", "-q", *(session.posargs or MACHINES))


@nox.session
def scenarios(session: nox.Session) -> None:
    """The calls tagged `core`, for real: SIP, RTP, WebSocket; arguments go to `callerside run`."""
    _install(session, "sim")
    _run(session, "callerside", "run", *(session.posargs or ["scenarios", "-k", "core"]))


@nox.session
def others(session: nox.Session) -> None:
    """All calls that are not `core`, for real; of them a tenth: `-- --sample 0.1 --seed 7`."""
    _install(session, "sim")
    listed = session.run(
        "callerside", "list", "scenarios", "-k", "not core", silent=True, success_codes=[0, 2]
    )
    if all("virtual lane only" in line for line in str(listed).splitlines() if " " in line):
        session.skip("every scenario that is played over SIP is core")
    _run(session, "callerside", "run", "scenarios", "-k", "not core", *session.posargs)


@nox.session
def lanes(session: nox.Session) -> None:
    """Every call of the last run over SIP (`nox -s scenarios`), compared with itself in memory."""
    _install(session, "sim,languages,test")
    run = session.posargs[0] if session.posargs else "out/latest"
    session.run("pytest", "tests/e2e/test_lanes_agree.py", env={"CALLERSIDE_SIP_RUN": run})


@nox.session
def far(session: nox.Session) -> None:
    """The library in memory, its Realtime API 75 and 150 ms away: all of it, in two minutes."""
    _install(session, "sim,languages,test")
    session.run(
        "pytest",
        "tests/simulator/lanes/virtual/test_virtual_far_library.py",
        env={"CALLERSIDE_FAR_SHARE": "1"},
    )


@nox.session
def pages(session: nox.Session) -> None:
    """The calls that README and docs show, in both lanes at five seeds; three minutes."""
    _install(session, "sim,languages,test")
    _run(session, "pytest", "tests/e2e/test_pages_played.py", *session.posargs)


@nox.session(python=False)
@nox.parametrize("version", OTHERS)
def pythons(session: nox.Session, version: str) -> None:
    """On each other Python that is here: machines, SIP engines, a few real calls; two minutes."""
    interpreter = _interpreter(version)
    if interpreter is None:
        session.skip(f"there is no Python {version} here, on PATH or in pyenv")
    folder = Path(session.cache_dir) / f"python-{version}"
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        session.run(interpreter, "-m", "venv", str(folder), external=True)
    session.run(
        python, "-m", "pip", "install", "-q", "-c", "constraints.txt",
        "-e", ".[sim,languages,test]",
        external=True,
    )  # fmt: skip
    env = {"CALLERSIDE_NO_SKIPS": "0"}  # above 3.12 one engine has no wheel
    session.run(python, "-m", "pytest", "-q", *ON_EACH_PYTHON, env=env, external=True)
    calls = [f"scenarios/{name}.yaml" for name in FEW_CALLS]
    command = ["-m", "callerside.simulator.cli.main", "run", *calls]
    session.run(python, *command, external=True)


@nox.session
@nox.parametrize("version", SDKS)
def sdk(session: nox.Session, version: str) -> None:
    """Each event of the fake, by the types of the official client: its oldest, its newest."""
    _install(session, "sim,languages,test")
    session.install("-q", f"openai=={version}")
    _run(session, "pytest", "-q", *HELD_TO_THE_SDK)


def _interpreter(version: str) -> str | None:
    """One that runs; of pyenv's commands there is one for each, which may lead nowhere."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        shutil.which(f"python{version}"),
        *sorted(home.glob(f"versions/{version}.*/bin/python")),
    ]
    for one in found:
        asked = [str(one), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if one and subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
            return str(one)
    return None


@nox.session
def fuzz(session: nox.Session) -> None:
    """Calls that nobody thought of, 1,000 or as many as are asked for: docs/fuzzing.md."""
    _install(session, "sim")
    session.run("callerside", "fuzz", *(session.posargs or ["--seeds", "1000"]))


@nox.session
def mutants(session: nox.Session) -> None:
    """Faults that were there once, each alone: fuzzer and tests find them; docs/fuzzing.md.

    Half an hour with two processors; `-- --only NAME` tries one, `-- --search` takes hours.
    """
    _install(session, "sim,languages,test")
    session.run("python", "tests/mutants/mutants.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Steady load, short calls in a row, 200 beeps, session timers, on the SIP engines: hours.

    `-- 3`: minutes of steady load instead of 40, with 500 short calls instead of 10,000.
    """
    _install(session, "sim,languages,test")
    minutes = float(session.posargs[0]) if session.posargs else 40.0
    session.run(
        "pytest", "-rP", "tests/e2e/test_steady_load.py", "tests/e2e/test_beep_whole.py",
        "tests/conformance/test_short_calls.py", "tests/conformance/test_session_timers.py",
        env={
            "CALLERSIDE_STEADY_S": str(60 * minutes),
            "CALLERSIDE_BEEPS": "200",
            "CALLERSIDE_SHORT_CALLS": "500" if session.posargs else "10000",
            "CALLERSIDE_SESSION_TIMERS": "1",
        },
    )  # fmt: skip


@nox.session
def attack(session: nox.Session) -> None:
    """As an enemy would: floods, torture, 20,000 broken messages; a tenth of it: `-- --small`.

    All of it stays on this machine. What was sent is repeated by CALLERSIDE_SEED, which is printed.
    """
    _install(session, "sim,languages,test")
    small = "--small" in session.posargs
    arguments = [one for one in session.posargs if one != "--small"]
    files = ATTACKS if small else (*ATTACKS, ADMISSION)
    # The large floods are measured. Small ones mostly wait, each on an agent of its own.
    spread = (*_side_by_side(), "--dist", "worksteal") if small else ()
    few = {"CALLERSIDE_MUTATED": "2000"}
    many = {
        "CALLERSIDE_MUTATED": "20000",
        "CALLERSIDE_FLOOD_S": "10",
        "CALLERSIDE_FLOOD_PER_S": "2000",
        "CALLERSIDE_RTP_PER_S": "50000",
    }
    env = few if small else many
    session.run("pytest", "-q", "--timeout=900", *spread, *files, *arguments, env=env)


@nox.session
def disturbed(session: nox.Session) -> None:
    """While other work wants the processors: a good agent passes, and a late one is found."""
    _install(session, "sim,languages,test")
    session.run("pytest", "tests/e2e/test_disturbed.py")


@nox.session
@nox.parametrize("age", ["newest", "oldest"])
@nox.parametrize("client", [*CLIENTS, *CLIENTS_IN_NODE])
def clients(session: nox.Session, client: str, age: str) -> None:
    """Clients of the Realtime API against the fake server: `nox -s clients`; docs/clients.md.

    Those of JavaScript need node and npm.
    """
    env = {"CALLERSIDE_CLIENT": client}
    session.install("-q", "-e", ".[sim]", "pytest", "pytest-asyncio", "pytest-xdist", "trustme")
    if client in CLIENTS:
        package, versions = CLIENTS[client]
        session.install("-q", f"{package}=={versions[age]}", "websockets", "httpx")
    else:
        package, beside, versions = CLIENTS_IN_NODE[client]
        env["CALLERSIDE_NODE"] = folder = session.create_tmp()
        wanted = (f"{package}@{versions[age]}", beside)
        session.run("npm", "install", "--silent", "--prefix", folder, *wanted, external=True)
    tests = [f"tests/clients/test_{client}.py"]
    if age == "newest":  # of which the page speaks
        tests.append("tests/clients/test_page.py")
    session.run(
        "pytest", "-c", "tests/clients/pytest.ini", "-q", "-n", "4", *tests, *session.posargs,
        env=env,
    )  # fmt: skip


@nox.session
def speech(session: nox.Session) -> None:
    """A minute of `callerside calibrate --speech`: fails where it is worse than docs/metrics.md.

    And all of the made calls and faults of which `tests` hears a third.
    """
    _install(session, "sim,languages,test")
    command = ("callerside", "calibrate", "--speech", "--sample", "60")
    session.run(*(session.posargs or command))
    if not session.posargs:
        session.run("pytest", "-q", "-n", "2", *MADE, env={"CALLERSIDE_FAULTS": "3"})


@nox.session
def scorers(session: nox.Session) -> None:
    """Other people's scorers on the calls of `speech`, beside ours: docs/metrics.md.

    callback-voice needs Python 3.12. `nox -s scorers -- docs/scorers.json` keeps the result.
    """
    interpreter = _interpreter("3.12")
    if interpreter is None:
        session.skip("there is no Python 3.12 here, on PATH or in pyenv")
    _install(session, "sim,languages")
    folder = Path(session.create_tmp())
    theirs = Path(session.cache_dir) / "scorers"
    python = str(theirs / "bin" / "python")
    if not Path(python).exists():
        session.run(interpreter, "-m", "venv", str(theirs), external=True)
    session.run(python, "-m", "pip", "install", "-q", *SCORERS, external=True)
    session.run("python", "tests/scorers/make_calls.py", str(folder))
    session.run(python, "tests/scorers/score_calls.py", str(folder), external=True)
    session.run("python", "tools/scorers.py", str(folder), *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks: JSON under .benchmarks/, to compare between commits, and out/bench.html."""
    _install(session, "sim,languages,test")
    try:
        session.run(
            "pytest", "tests/bench", "--benchmark-enable", "--benchmark-only",
            "--benchmark-autosave", "--timeout=1800", *session.posargs,
        )  # fmt: skip
    finally:  # also where one was beyond its limit
        session.run("python", "tests/support/bench_page.py")


@nox.session
def engines(session: nox.Session) -> None:
    """The SIP engines side by side: measures them, and writes the table of docs/engines.md."""
    _install(session, "sim,test")
    _run(
        session, "pytest", "tests/bench/test_bench_engines.py", "--benchmark-enable",
        "--timeout=1800", *session.posargs,
    )  # fmt: skip


@nox.session
def lock(session: nox.Session) -> None:
    """Write constraints.txt anew: the newest versions that pyproject.toml allows."""
    session.install("-q", "--upgrade", ".[sim,languages,test,lint]")
    frozen = session.run(
        "pip", "freeze", "--all", "--exclude", "pip", "--exclude", "callerside",
        "--exclude-editable", silent=True,
    )  # fmt: skip
    Path("constraints.txt").write_text(
        "# What `nox -s lock` found newest within pyproject.toml's bounds.\n" + str(frozen)
    )
