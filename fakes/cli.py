"""`fake-realtime`: a Realtime API that needs no key, on your own machine.

Exit codes: 0 all went well, 1 `diff` has found something, 2 it could not begin (bad input, port in
use).
"""

import sys

if __name__ == "__main__":  # what follows takes its time, in which there may be a Ctrl-C
    from callerside.fakes.entry import main as entry

    sys.exit(entry())

import argparse
import asyncio
import gc
import io
import logging
import os
import signal
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from callerside import event_loop
from callerside.announcements import Announcements
from callerside.audio_files import AudioFileError
from callerside.child_processes import end_with_parent
from callerside.command_line import Parser, seed
from callerside.fakes.recording.cassette import read_cassette
from callerside.fakes.recording.comparison import differences
from callerside.fakes.recording.conversation import describe
from callerside.fakes.recording.format import (
    Recording,
    RecordingError,
    read_recording,
    write_recording,
)
from callerside.fakes.recording.known_events import first_unknown
from callerside.fakes.recording.replay import Pace, ReplayOptions
from callerside.fakes.recording.transcript import narrate
from callerside.fakes.script.loader import ScriptError, load_prepared
from callerside.fakes.script.model import Script
from callerside.fakes.server.addresses import is_loopback, why_no_websocket
from callerside.fakes.server.proxy import RecordingProxy
from callerside.fakes.server.server import FakeRealtime, ServerOptions
from callerside.fakes.session.faults import parse_fault
from callerside.files import begin_in_utf8, make_private
from callerside.ports import port_from
from callerside.speech.voices import VoiceError
from callerside.terminal import guard, one_line

log = logging.getLogger("callerside.fakes.cli")

OVERVIEW = """\
A fake server of the OpenAI Realtime API: it hears, takes turns and speaks, needs no key and costs
nothing. Any client of the API can be pointed at it, such as the official one:

  AsyncOpenAI(api_key="none", websocket_base_url="ws://127.0.0.1:9000/v1")
"""

BEGIN_HERE = """\
begin with:
  fake-realtime serve --port 9000     and then: fake-realtime serve --help
"""

SERVE_EXAMPLES = """\
examples:
  fake-realtime serve --port 9000
      answers every turn with a short sentence at ws://127.0.0.1:9000/v1/realtime
  fake-realtime serve --port 9000 --script hotel.yaml
      says what the script says; the least script is
          replies:
            - say: We open at nine.
  fake-realtime serve --scripts scripts/ --timelines out/
      ws://.../hotel/v1/realtime plays scripts/hotel.yaml and writes out/hotel.realtime.jsonl
  fake-realtime serve --recording call.realtime
      replays a recorded session, at the pace of its new client
  fake-realtime serve --recording call.realtime --timing fast --strict
      the same at once, and ends with an error at the first thing that the client does otherwise
  fake-realtime serve --port 9000 --page
      http://127.0.0.1:9000/ shows sessions and events as they happen, and lets you choose replies
  fake-realtime serve --port 9000 --control
      curl 'http://127.0.0.1:9000/control/events/wait?from=client&type=session.update'
  fake-realtime serve --chaos 0.02 --seed 7
      draws faults at random: at each place of a conversation one strikes with this probability
  fake-realtime serve --fault "drop at=reply 1 + 800ms" --fault "error code=server_error at=turn 2"
      makes things go wrong, each in the first session of a path unless it has sessions=N; faults:
      refuse status=  accept_late by_ms=  drop  stall for_ms=  slow pace=  duplicate events=
      reorder  malformed  unknown_event  oversized size_bytes=  error code=  fail code=
      never_done  close code=  expire
      points: connect, greeting, speech N, turn N, reply N, event N, each perhaps with "+ 800ms"
"""

RECORD_EXAMPLES = """\
example:
  fake-realtime record --port 9001 --upstream wss://api.openai.com/v1/realtime --to call.realtime
      then point the client at ws://127.0.0.1:9001/v1/realtime instead of the real server
      the next session goes to call-2.realtime, and so on; no file is overwritten
  fake-realtime record --lend-key --upstream wss://api.openai.com/v1/realtime --to call.realtime
      for clients without a key of their own: they use OPENAI_API_KEY
  fake-realtime inspect call.realtime
  fake-realtime serve --recording call.realtime
"""

CONVERT_EXAMPLES = """\
A cassette has a list of interactions, each with its direction (sent, received) and data, the event:

  interactions:
    - direction: received
      data: {type: session.created, session: {...}}
    - direction: sent
      data: {type: response.create}

example:
  fake-realtime convert turn.yaml --to turn.realtime
  fake-realtime serve --recording turn.realtime --timing fast
"""

INSPECT_EXAMPLES = """\
One line for each thing said, called or refused: when (seconds), by whom, and how long it took. With
--events one line an event: --> for the client's and <-- for the server's, and what matters of it;
what flows between two of them (audio, words of a transcript) is one line.

examples:
  fake-realtime inspect call.realtime
  fake-realtime inspect --events call.realtime | grep -v rate_limits
"""

DIFF_EXAMPLES = """\
One line for each thing that is said, called or refused in the first alone (-), or in the second
alone (+). Times, lengths and ids are no difference. Exit code 1: they differ; 0: they say the same.

example:
  fake-realtime diff before.realtime after.realtime
"""


_UNUSABLE = 2


class _Listening(Protocol):
    @property
    def url(self) -> str: ...


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point; exits with the command's exit code."""
    if argv is None:
        begin_in_utf8()
        guard()
        end_with_parent()
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.WARNING if arguments.quiet else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(_in_one_line)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    try:
        sys.exit(arguments.run(arguments))
    except (ScriptError, RecordingError, VoiceError, AudioFileError) as error:
        sys.exit(_refuse(str(error)))
    except BrokenPipeError:  # its reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)


def _in_one_line(record: logging.LogRecord) -> bool:
    """What a client wrote forges no line of the log."""
    record.msg, record.args = one_line(record.getMessage()), ()
    return True


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="fake-realtime",
        description=OVERVIEW,
        epilog=BEGIN_HERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('callerside')}")
    parser.add_argument("--quiet", action="store_true", help="log warnings only")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_record(commands)
    convert = _add(
        commands, "convert", "make a recording of a YAML cassette", epilog=CONVERT_EXAMPLES
    )
    convert.add_argument("cassette", type=Path, metavar="FILE.yaml", help="the cassette")
    convert.add_argument("--to", type=Path, required=True, metavar="FILE", help="the recording")
    convert.set_defaults(run=_convert)
    inspect = _add(
        commands, "inspect", "print a recording as a conversation", epilog=INSPECT_EXAMPLES
    )
    inspect.add_argument("recording", type=Path, metavar="FILE", help="a recording, or a cassette")
    inspect.add_argument(
        "--events", action="store_true", help="event by event, each on a line, instead"
    )
    inspect.set_defaults(run=_inspect)
    diff = _add(commands, "diff", "compare two recordings by meaning", epilog=DIFF_EXAMPLES)
    for name in ("one", "other"):
        diff.add_argument(name, type=Path, metavar="FILE", help="a recording, or a cassette")
    diff.set_defaults(run=_diff)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
    *,
    description: str | None = None,
    epilog: str,
) -> argparse.ArgumentParser:
    """A command that explains itself."""
    return commands.add_parser(
        name,
        help=what,
        description=description or f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = _add(
        commands,
        "serve",
        "serve sessions",
        description="Serve sessions until SIGTERM or Ctrl-C. Prints one line when it is ready,\n"
        "and logs one for every turn on standard error.",
        epilog=SERVE_EXAMPLES,
    )
    _add_address(serve, pages="this machine's may")
    what = serve.add_mutually_exclusive_group()
    what.add_argument("--script", type=Path, metavar="FILE", help="what /v1/realtime says")
    what.add_argument("--recording", type=Path, metavar="FILE", help="what /v1/realtime replays")
    serve.add_argument(
        "--timing",
        choices=("recorded", "fast"),
        help="answers of a replay: as late as recorded (default, if times are known), or at once",
    )
    serve.add_argument(
        "--strict", action="store_true", help="end a replay when its client departs from it"
    )
    serve.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="what goes wrong, see below"
    )
    serve.add_argument(
        "--chaos",
        type=_rate,
        metavar="RATE",
        help="how probable one more fault is at each place of a conversation, 0 to 1",
    )
    serve.add_argument(
        "--seed", type=seed, metavar="N", help="everything random comes from it, chaos too"
    )
    serve.add_argument(
        "--scripts", type=Path, metavar="DIR", help="scripts of /NAME/v1/realtime: DIR/NAME.yaml"
    )
    serve.add_argument("--timelines", type=Path, metavar="DIR", help="write what happened here")
    serve.add_argument(
        "--keep-audio", action="store_true", help="write what was heard to the same folder"
    )
    serve.add_argument(
        "--lenient",
        action="store_true",
        help="serve what the API refuses, as far as can be, and tell in the log and the timeline",
    )
    serve.add_argument(
        "--control",
        action="store_true",
        help="let tests of this machine look at what happens, and change it, under /control",
    )
    serve.add_argument(
        "--page", action="store_true", help="a page at / for people, who may do the same"
    )
    serve.add_argument(
        "--announce",
        action="store_true",
        help="print `closed FILE` when a session's timeline is complete",
    )
    serve.set_defaults(run=_serve)


def _add_record(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    record = _add(
        commands,
        "record",
        "record sessions of any client with any server",
        description="Pass sessions on to another server, and write them down. Keys are passed on,\n"
        "and never written. Web pages are refused, but for those that are named.",
        epilog=RECORD_EXAMPLES,
    )
    _add_address(record, pages="no others may")
    record.add_argument(
        "--upstream", required=True, metavar="URL", help="such as wss://api.openai.com/v1/realtime"
    )
    record.add_argument("--to", type=Path, required=True, metavar="FILE", help="the recording")
    record.add_argument(
        "--audio-files", action="store_true", help="keep audio in WAV files beside it"
    )
    record.add_argument(
        "--no-caller-audio",
        action="store_true",
        help="leave out the sound that clients send, and keep when they sent it",
    )
    record.add_argument(
        "--lend-key",
        action="store_true",
        help="clients that send no key use OPENAI_API_KEY (on loopback only)",
    )
    record.set_defaults(run=_record)


def _add_address(command: argparse.ArgumentParser, *, pages: str) -> None:
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    command.add_argument(
        "--port", type=port_from(0), default=0, help="port; 0, the default: any free one"
    )
    command.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help=f"web pages that may connect, such as http://localhost:3000; {pages}",
    )


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a probability, 0 to 1")
    return rate


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.keep_audio and arguments.timelines is None:
        return _refuse("--keep-audio needs --timelines DIR, where the audio is written")
    if arguments.announce and arguments.timelines is None:
        return _refuse("--announce needs --timelines DIR, where the timelines are written")
    if arguments.scripts is not None and not arguments.scripts.is_dir():
        return _refuse(f"{arguments.scripts}: no such folder")
    if (arguments.control or arguments.page) and not is_loopback(arguments.host):
        return _refuse(f"--control and --page are for this machine alone, not for {arguments.host}")
    if arguments.recording is None and (arguments.strict or arguments.timing):
        return _refuse("--strict and --timing say how to replay: they need --recording FILE")
    asks_for_faults = arguments.fault or arguments.chaos is not None or arguments.seed is not None
    if arguments.recording is not None and asks_for_faults:
        return _refuse("--fault, --chaos and --seed need a script: a replay does what was recorded")
    if arguments.timelines is not None:
        try:
            make_private(arguments.timelines)
        except OSError as error:
            return _refuse(f"{arguments.timelines}: cannot be written: {error.strerror}")
    options = ServerOptions(
        host=arguments.host,
        port=arguments.port,
        scripts=arguments.scripts,
        timelines=arguments.timelines,
        keep_audio=arguments.keep_audio,
        lenient=arguments.lenient,
        control=arguments.control or arguments.page,
        page=arguments.page,
        chaos=arguments.chaos,
        seed=arguments.seed,
        origins=arguments.allow_origin,
    )
    try:
        server = _make_server(arguments, options)
    except ValueError as error:
        return _refuse(str(error))
    return _listen(server, arguments)


def _make_server(arguments: argparse.Namespace, options: ServerOptions) -> FakeRealtime:
    on_closed = Announcements(_say_lost).closed if arguments.announce else None
    if arguments.recording is not None:
        recording = read_recording(arguments.recording)
        timing: Pace = arguments.timing or ("recorded" if recording.header.timed else "fast")
        replay = ReplayOptions(timing=timing, strict=arguments.strict)
        try:
            return FakeRealtime(
                recording=recording, replay=replay, options=options, on_closed=on_closed
            )
        except ValueError as error:
            raise RecordingError(f"{arguments.recording}: {error}") from None
    script = Script() if arguments.script is None else load_prepared(arguments.script).script
    faults = (*script.faults, *map(parse_fault, arguments.fault))
    script = script.model_copy(update={"faults": faults})
    return FakeRealtime(script, options=options, on_closed=on_closed)


def _say_lost(why: str) -> None:
    log.warning("announcements are lost: %s", why)


def _record(arguments: argparse.Namespace) -> int:
    why = why_no_websocket(arguments.upstream)
    if why is not None:
        return _refuse(f"--upstream {arguments.upstream}: {why}")
    folder: Path = arguments.to.parent
    try:
        make_private(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return _refuse(f"{arguments.to}: cannot be written: {error.strerror}")
    if arguments.lend_key and not os.environ.get("OPENAI_API_KEY"):
        return _refuse("--lend-key: OPENAI_API_KEY is not set")
    try:
        proxy = RecordingProxy(
            arguments.upstream,
            arguments.to,
            host=arguments.host,
            port=arguments.port,
            audio_files=arguments.audio_files,
            caller_audio=not arguments.no_caller_audio,
            lend_key=arguments.lend_key,
            origins=arguments.allow_origin,
        )
    except ValueError as error:
        return _refuse(f"--lend-key: {error}")
    return _listen(proxy, arguments)


def _convert(arguments: argparse.Namespace) -> int:
    recording = read_cassette(arguments.cassette)
    if arguments.to.exists():
        return _refuse(f"{arguments.to}: is there already: remove it, or give another --to")
    try:
        write_recording(arguments.to, recording)
    except OSError as error:
        return _refuse(f"{arguments.to}: cannot be written: {error.strerror}")
    print(f"{arguments.to}: {len(recording.entries)} events")
    if (unknown := first_unknown(recording)) is not None:
        print(
            f"{arguments.to}: cannot be replayed whole: {unknown}, is none of the API's; such "
            "events are sent where they stood, and what released them is not known",
            file=sys.stderr,
        )
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    recording = _read(arguments.recording)
    _print(narrate(recording) if arguments.events else describe(recording))
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    found = list(differences(_read(arguments.one), _read(arguments.other)))
    _print(found)
    return 1 if found else 0


def _read(path: Path) -> Recording:
    return (read_cassette if path.suffix in (".yaml", ".yml") else read_recording)(path)


def _print(lines: Iterable[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever was said can be printed
    for line in lines:
        print(line)


def _listen(server: AbstractAsyncContextManager[_Listening], arguments: argparse.Namespace) -> int:
    try:
        event_loop.run(_listen_until_stopped(server))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return _refuse(f"cannot listen on {arguments.host}:{arguments.port}: {why}")
    return 0


async def _listen_until_stopped(server: AbstractAsyncContextManager[_Listening]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with server as listening:
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again would make deltas late
        print(f"ready {listening.url}", flush=True)
        await stopping.wait()


def _refuse(message: str) -> int:
    print(f"fake-realtime: {message}", file=sys.stderr)
    return _UNUSABLE
