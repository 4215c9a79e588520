"""`earshot-agent`: the production agent's command line.

Exit codes: 0 all is well, 1 it failed while running, 2 it could not run (a wrong setting, a port in
use, a missing key).
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent import logs
from agent.config import ConfigError, Secrets, load, load_secrets, require_api_key
from agent.service import Service
from agent.settings import Settings
from agent.sip.errors import SipError

EXIT_OK, EXIT_FAILED, EXIT_COULD_NOT_RUN = 0, 1, 2

_SERVE_HELP = """\
Answer calls until SIGTERM or Ctrl-C, which end the calls that are up.

Prints one line, `ready sip:HOST:PORT`, once calls are answered; logs go to standard error.

Settings come from the file and from the environment: EARSHOT_SIP__PORT=5070 overrides `sip.port`.
The API key is OPENAI_API_KEY in the environment, and nowhere else.

The smallest file that answers a softphone on this machine:

    instructions: You are the receptionist of a bicycle shop.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, SipError) as error:
        print(f"earshot-agent: {error}", file=sys.stderr)
        return EXIT_COULD_NOT_RUN
    except KeyboardInterrupt:
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="earshot-agent", description="A telephone voice agent on the OpenAI Realtime API."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer calls",
        description=_SERVE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, YAML")
    serve.set_defaults(run=_serve)
    return parser


def _serve(options: argparse.Namespace) -> int:
    settings, secrets = _configure(options.config)
    asyncio.run(_run_service(settings, secrets))
    return EXIT_OK


def _configure(path: Path) -> tuple[Settings, Secrets]:
    settings, secrets = load(path), load_secrets()
    require_api_key(settings, secrets)
    known = [value for value in (secrets.api_key, secrets.sip_password) if value]
    logs.configure(secrets=known)
    return settings, secrets


async def _run_service(settings: Settings, secrets: Secrets) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = Service(settings, secrets, sinks=[logs.MarkLog()])
    port = await service.start()
    print(f"ready sip:{settings.sip.host}:{port}", flush=True)
    await stop.wait()
    await service.stop()


if __name__ == "__main__":
    sys.exit(main())
