"""`callerside-agent`: the production agent's command line.

Exit codes: 0 all is well, 1 it failed while running, 2 it could not run (a wrong setting, a port in
use, a missing key).
"""

import sys

if __name__ == "__main__":  # what follows takes its time, in which there may be a Ctrl-C
    from callerside.agent.entry import main as entry

    sys.exit(entry())

import argparse
import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from callerside import event_loop
from callerside.addresses import is_port
from callerside.agent.config.loader import (
    ConfigError,
    Secrets,
    load,
    load_secrets,
    outdated,
    require_keys,
    with_place,
)
from callerside.agent.config.reference import render as render_settings
from callerside.agent.config.settings import MAX_WORKERS, Settings
from callerside.agent.deploy.kamailio import (
    KamailioError,
    parse_listen,
    proxy_for,
    render,
    write,
)
from callerside.agent.deploy.kamailio_browsers import Browsers
from callerside.agent.deploy.kamailio_media import DEFAULT_MEDIA_PORTS, RTPENGINE_AT, Rtpengine
from callerside.agent.observe import logs
from callerside.agent.observe.retention import CALL_ID, forget
from callerside.agent.prompts.prefetch import Outcome, warm
from callerside.agent.service.kept_settings import with_start_of
from callerside.agent.service.run import (
    check_certificates,
    check_engine,
    check_places,
    check_ports,
    run_alone,
    run_supervisor,
    worker_settings,
)
from callerside.agent.service.worker import run_worker
from callerside.agent.telephony.engine import PROFILES
from callerside.agent.telephony.engines import looked_at
from callerside.agent.telephony.errors import SipError
from callerside.agent.tools.interface import ToolError
from callerside.announcements import Announcements
from callerside.child_processes import end_with_parent
from callerside.command_line import Parser, Tell
from callerside.files import begin_in_utf8
from callerside.terminal import guard

_log = structlog.get_logger(__name__)

EXIT_OK, EXIT_FAILED, EXIT_COULD_NOT_RUN = 0, 1, 2

_CALLS = " or ".join(f"{one.calls_a_process} with {one.name}" for one in PROFILES.values())
_SERVE_HELP = f"""\
Answer calls until SIGTERM or Ctrl-C: then no new calls are taken, and those that are up may finish
(a second signal ends them at once). SIGHUP reads the settings of calls again.

Prints one line, `ready sip:HOST:PORT`, once calls are answered; logs go to standard error. With
`--announce` it prints `closed FILE`, too, when the timeline of a call is complete.

A process holds as many calls as its SIP engine can: {_CALLS}.
More of them (`--workers`, or `workers` in the file) take more, each on the SIP port after the one
before it; `callerside-agent kamailio` makes a proxy's configuration that puts one address before
them.

Settings come from the file and from the environment: CALLERSIDE_SIP__PORT=5070 overrides
`sip.port`. The API key is OPENAI_API_KEY in the environment, and nowhere else.

The smallest file that answers a softphone on this machine:

    version: 2
    instructions: You are the receptionist of a bicycle shop.
"""


_GREET_HELP = """\
Have the model speak the greeting of every route, and what callers hear when the API fails, and
keep them in the cache: the first caller then hears the greeting as soon as every other one.
What is cached already is left alone. Exit code 1: something could not be made.
"""


_FORGET_HELP = """\
Delete what is kept of calls: their timelines and recordings, and their lines in the file of
records. A call's id is in its record, in the names of its files, and in every line of the log about
it. Exit code 1: nothing was kept of one of them.
"""


_KAMAILIO_HELP = """\
Write kamailio.cfg and dispatcher.list for Kamailio 5.6 or later: one address whose calls are spread
over the workers of `callerside-agent serve`. A worker that is full, draining or dead passes its
call on to the next one; OPTIONS find out who is dead. Sound goes past the proxy, so that workers
have an address of each family (IPv4, IPv6) at which it listens; or rtpengine translates it
(--translate).

With --browsers, web pages may call, too (SIP over WebSocket and TLS, sound by WebRTC): then there
are tls.cfg and rtpengine.conf besides, for rtpengine, through which the sound of these calls goes.

Check what was written with `kamailio -c -f DIR/kamailio.cfg`.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    if arguments is None:
        begin_in_utf8()
        guard()
        end_with_parent()
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, KamailioError, SipError, ToolError, OSError) as error:
        print(f"callerside-agent: {error}", file=sys.stderr)
        return EXIT_COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="callerside-agent", description="A telephone voice agent on the OpenAI Realtime API."
    )
    parser.add_argument(
        "--version",
        action=Tell,
        place="callerside.agent.telephony.engines:told_version",
        help="and the SIP engines here",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer calls",
        description=_SERVE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, YAML")
    serve.add_argument(
        "--workers", type=_worker_count, metavar="N", help="processes, each with calls of its own"
    )
    serve.add_argument(
        "--announce", action="store_true", help="print which calls' timelines are complete"
    )
    serve.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # set by the supervisor
    serve.add_argument("--socket", type=Path, help=argparse.SUPPRESS)  # set by the supervisor
    serve.add_argument("--at-start", type=Path, help=argparse.SUPPRESS)  # set by the supervisor
    serve.set_defaults(run=_serve)
    greet = commands.add_parser(
        "greet",
        help="make and cache the greetings before there is a call",
        description=_GREET_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    greet.add_argument("--config", type=Path, required=True, metavar="FILE", help="as for serve")
    greet.set_defaults(run=_greet)
    forget_one = commands.add_parser(
        "forget", help="delete all that is kept of a call", description=_FORGET_HELP
    )
    forget_one.add_argument("--config", type=Path, required=True, metavar="FILE")
    forget_one.add_argument("calls", nargs="+", type=_call_id, metavar="CALL", help="its id")
    forget_one.set_defaults(run=_forget)
    page = commands.add_parser("settings", help="print the page of all settings, as Markdown")
    page.set_defaults(run=_settings_page)
    _add_kamailio(commands)
    return parser


def _add_kamailio(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    kamailio = commands.add_parser(
        "kamailio",
        help="make the configuration of a proxy before several workers",
        description=_KAMAILIO_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kamailio.add_argument("--config", type=Path, required=True, metavar="FILE", help="as for serve")
    kamailio.add_argument("--workers", type=_worker_count, metavar="N", help="as for serve")
    kamailio.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="ADDRESS[:PORT]",
        help="where the proxy takes calls; the port is 5060 if left out; may be given again, for "
        "an address of the other family (IPv4, IPv6)",
    )
    kamailio.add_argument(
        "--translate",
        action="store_true",
        help="have rtpengine translate sound of the family of which the workers have no address",
    )
    kamailio.add_argument(
        "--public-host", metavar="NAME", help="what callers know the proxy by, behind NAT"
    )
    kamailio.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to write the files"
    )
    kamailio.add_argument(
        "--browsers",
        metavar="ADDRESS:PORT",
        help="where the proxy takes calls of web pages, by wss; their sound goes there, too",
    )
    kamailio.add_argument(
        "--certificate", type=Path, metavar="FILE", help="of --browsers, with its chain; PEM"
    )
    kamailio.add_argument("--key", type=Path, metavar="FILE", help="of the certificate")
    kamailio.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="whose pages alone may call, such as https://www.example; may be given again",
    )
    kamailio.add_argument(
        "--media-ports",
        type=_port_range,
        default=DEFAULT_MEDIA_PORTS,
        metavar="FIRST-LAST",
        help="of rtpengine's sound (default: {}-{})".format(*DEFAULT_MEDIA_PORTS),
    )
    kamailio.add_argument(
        "--rtpengine",
        default=RTPENGINE_AT,
        metavar="ADDRESS:PORT",
        help="where the proxy tells rtpengine of calls (default: %(default)s)",
    )
    kamailio.set_defaults(run=_kamailio)


def _port_range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (is_port(first) and is_port(last) and int(first) < int(last)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected two ports, such as 30000-39999")
    return int(first), int(last)


def _browsers(options: argparse.Namespace) -> Browsers | None:
    """What is said of callers from web pages.

    Raises:
        KamailioError: it cannot be right.
    """
    if options.browsers is None:
        return None
    if options.certificate is None or options.key is None:
        raise KamailioError("--browsers needs --certificate and --key: pages call by TLS alone")
    for origin in options.origin:
        if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+", origin):
            raise KamailioError(
                f"--origin {origin!r} is no origin of a page; expected one such as "
                "https://www.example"
            )
    host, port = parse_listen(options.browsers)
    return Browsers(
        host=host,
        port=port,
        certificate=options.certificate.absolute(),
        key=options.key.absolute(),
        origins=options.origin,
    )


def _kamailio(options: argparse.Namespace) -> int:
    settings = load(options.config)
    workers = options.workers or settings.workers
    proxy = proxy_for(
        settings,
        options.listen,
        workers=workers,
        public_host=options.public_host,
        browsers=_browsers(options),
        translates=options.translate,
        rtpengine=Rtpengine(at=options.rtpengine, ports=options.media_ports),
    )
    files = render(proxy, options.out)
    write(files)
    for path in files:
        print(path)
    return EXIT_OK


def _greet(options: argparse.Namespace) -> int:
    settings, secrets = _configure(options.config, None)
    well = asyncio.run(warm(settings, secrets, _say_outcome))
    return EXIT_OK if well else EXIT_FAILED


def _forget(options: argparse.Namespace) -> int:
    settings = load(options.config)
    unknown = []
    for call in options.calls:
        changed = forget(settings, call)
        for path in changed:
            print(f"{call}: {path}")
        if not changed:
            unknown.append(call)
    for call in unknown:
        print(f"callerside-agent: nothing is kept of {call}", file=sys.stderr)
    return EXIT_FAILED if unknown else EXIT_OK


def _call_id(text: str) -> str:
    if not CALL_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected the id of a call, 12 letters and digits as in its record, got {text!r}"
        )
    return text


def _settings_page(_options: argparse.Namespace) -> int:
    print(render_settings(), end="")
    return EXIT_OK


def _say_outcome(outcome: Outcome) -> None:
    name = f"{outcome.wanted.called}: {outcome.wanted.what}"
    if outcome.problem is not None:
        print(f"callerside-agent: {name}: {outcome.problem}", file=sys.stderr)
    elif outcome.made_ms:
        print(f"{name}: made, {outcome.made_ms / 1000:.1f} s")
    else:
        print(f"{name}: cached already")


def _worker_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_WORKERS}, got {text!r}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    settings, secrets = _configure(options.config, options.worker, options.at_start)
    if options.workers is not None:
        settings = settings.model_copy(update={"workers": options.workers})
    try:
        check_ports(settings)
        check_certificates(settings)
        check_places(settings)
        check_engine(settings, secrets)
    except (ConfigError, SipError) as error:
        raise ConfigError(with_place(str(error), options.config)) from None
    *others, engine = looked_at(settings.sip.engine)
    why = {"instead_of": [one.problem for one in others]} if others else {}
    _log.info("sip_engine", engine=engine.name, version=engine.version, **why)
    if options.worker is not None:
        return event_loop.run(_run_one_of_several(options, settings, secrets))
    load_again = partial(_load, options.config, secrets, may_be_empty=False)
    announce = _announce_closed() if options.announce else None
    if settings.workers > 1:
        return asyncio.run(
            run_supervisor(settings, secrets, options.config, load_again, _say_ready, announce)
        )
    return event_loop.run(run_alone(settings, secrets, load_again, _say_ready, announce))


async def _run_one_of_several(
    options: argparse.Namespace, settings: Settings, secrets: Secrets
) -> int:
    """A worker of a supervisor: its own ports, its number in every line of its log."""

    def load_again() -> Settings:
        fresh = _load(options.config, secrets, may_be_empty=False)
        return worker_settings(fresh, options.worker)

    return await run_worker(
        worker_settings(settings, options.worker),
        secrets,
        load_again,
        on_ready=lambda at: _say_ready([at]),
        on_timeline_closed=_announce_closed() if options.announce else None,
        socket=options.socket,
    )


def _say_ready(addresses: Sequence[str]) -> None:
    print("ready", *addresses, flush=True)


def _announce_closed() -> Callable[[Path], None]:
    return Announcements(lambda why: _log.warning("announcements_lost", error=why)).closed


def _load(path: Path, secrets: Secrets, *, may_be_empty: bool = True) -> Settings:
    settings = load(path, may_be_empty=may_be_empty)
    require_keys(settings, secrets)
    return settings


def _configure(
    path: Path, worker: int | None, at_start: Path | None = None
) -> tuple[Settings, Secrets]:
    secrets = load_secrets()
    settings = _load(path, secrets)
    if at_start is not None:
        settings = with_start_of(settings, _load(at_start, secrets))
    logs.configure(
        log_format=settings.logs.format,
        level=settings.logs.level,
        words=settings.logs.words,
        secrets=secrets.values(settings),
        worker=worker,
    )
    if worker is None and (keys := outdated(path)):
        _log.warning("settings_of_an_older_version", keys=keys, rewritten_by="callerside migrate")
    return settings, secrets
