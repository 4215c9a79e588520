"""What `fake-realtime --help` teaches."""

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
  fake-realtime serve --scripts stages/ --timelines out/
      ws://.../hotel/v1/realtime performs stages/hotel.yaml and writes out/hotel.realtime.jsonl
  fake-realtime serve --recording call.realtime
      replays a recorded session, at the pace of its new client
  fake-realtime serve --recording call.realtime --timing fast --strict
      the same at once, and ends with an error at the first thing that the client does otherwise
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
One line an event: when it passed (seconds), --> for the client's and <-- for the server's, and what
matters of it. What flows between two of them (audio, words of a transcript) is one line.

example:
  fake-realtime inspect call.realtime | grep -v rate_limits
"""
