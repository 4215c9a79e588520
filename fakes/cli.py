"""`fake-realtime`: a Realtime API that needs no key, on your own machine."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.audio import AudioFileError
from fakes.load import ScriptError, load_script
from fakes.script import Script
from fakes.server import FakeRealtime, ServerOptions
from fakes.voice import VoiceError

_UNUSABLE = 2

_SERVE_EXAMPLES = """\
examples:
  fake-realtime serve --port 9000
      answer every turn with a short sentence at ws://127.0.0.1:9000/v1/realtime
  fake-realtime serve --port 9000 --script hotel.yaml
      say what the script says; the least script is
          replies:
            - say: We open at nine.
  fake-realtime serve --scripts stages/ --timelines out/
      ws://.../hotel/v1/realtime performs stages/hotel.yaml and writes out/hotel.realtime.jsonl

Any client of the Realtime API can be pointed at it, such as the official one:
  AsyncOpenAI(api_key="none", websocket_base_url="ws://127.0.0.1:9000/v1")
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point; exits 0 when all went well, 1 when not, 2 when it could not begin."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.WARNING if arguments.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("websockets").setLevel(logging.ERROR)
    sys.exit(arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fake-realtime",
        description="A fake server of the OpenAI Realtime API that hears, takes turns and speaks.",
    )
    parser.add_argument("--quiet", action="store_true", help="log warnings only")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve sessions",
        description="Serve sessions until SIGTERM or Ctrl-C. Prints one line when it is ready.",
        epilog=_SERVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=0, help="port; 0, the default: any free one")
    serve.add_argument("--script", type=Path, metavar="FILE", help="what /v1/realtime says")
    serve.add_argument(
        "--scripts", type=Path, metavar="DIR", help="scripts of /STAGE/v1/realtime: DIR/STAGE.yaml"
    )
    serve.add_argument(
        "--timelines", type=Path, metavar="DIR", help="write what happened, as marks"
    )
    serve.add_argument(
        "--keep-audio", action="store_true", help="write what was heard to the same folder"
    )
    serve.set_defaults(run=_serve)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.keep_audio and arguments.timelines is None:
        return _refuse("--keep-audio needs --timelines DIR, where the audio is written")
    for folder in (arguments.scripts,):
        if folder is not None and not folder.is_dir():
            return _refuse(f"{folder}: no such folder")
    try:
        script = Script() if arguments.script is None else load_script(arguments.script)
        options = ServerOptions(
            host=arguments.host,
            port=arguments.port,
            scripts=arguments.scripts,
            timelines=arguments.timelines,
            keep_audio=arguments.keep_audio,
        )
        asyncio.run(_serve_until_stopped(FakeRealtime(script, options=options)))
    except (ScriptError, VoiceError, AudioFileError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}")
    return 0


async def _serve_until_stopped(server: FakeRealtime) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with server:
        print(f"ready {server.url}", flush=True)
        await stopping.wait()


def _refuse(message: str) -> int:
    print(f"fake-realtime: {message}", file=sys.stderr)
    return _UNUSABLE


if __name__ == "__main__":
    main()
