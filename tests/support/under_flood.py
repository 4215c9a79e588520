"""An agent with a call that is up, while others flood it; and what honest callers are told then."""

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from raw_sip import RTP_FRAME_BYTES, RawPhone
from sip_floods import IS_FULL, ONE, Listener, UdpFlood
from sip_rig import Facts, Phone, wait_until
from tcp_floods import TcpFlood

from callerside.agent.service.handles import needed
from callerside.agent.telephony.interface import MediaReady
from callerside.agent.telephony.options import SipOptions, Transport

GROWS_BY_MIB = 50
GROWS_BY_FILES = 4
GAP_MS = 40.0 if IS_FULL else 2_000.0
"""Beyond what the same load on the machine alone explains. The small floods are played beside
other work: of those, times say little."""
ANSWERED_MS = 1_000 if IS_FULL else 10_000
AFTER_S = 5.0 if IS_FULL else 25.0
"""Without what is done about calls that nobody acknowledges it would be 32."""

_SILENCE = b"\xff" * RTP_FRAME_BYTES
"""In G.711."""
Flood = TypeVar("Flood", UdpFlood, TcpFlood)


class Up(Generic[Flood]):
    """An agent with a call that is up, and how it fares.

    Args:
        agent: who takes calls.
        up: whoever is to call it.
        floods: makes one: at which port, of what, from whom.
    """

    def __init__(
        self, agent: Phone, up: RawPhone, floods: Callable[[int, str, tuple[str, ...]], Flood]
    ) -> None:
        self.agent = agent
        self._floods: Callable[[int, str, tuple[str, ...]], Flood] = floods
        answer = up.call(up.sdp())
        assert answer.status == 200
        agent.wait_for(0, MediaReady)
        agent.keep_audio(False)
        self.ear = Listener(up.rtp, lambda: up.send_rtp(_SILENCE, answer.audio_port))
        self._up = up
        self.flood("INVITE", ONE)  # what is made once is there then
        self.calm()
        self._before = agent.facts()

    def flood(self, kind: str, sources: tuple[str, ...]) -> Flood:
        """One kind of message, until it is over."""
        flood = self._floods(self.agent.port, kind, sources)
        flood.run()
        assert self.agent.facts().open_files <= needed(SipOptions().max_calls)
        return flood

    def calm(self) -> None:
        """Until no call is left but the one that is up."""
        wait_until(lambda: self.agent.facts().active_calls == 1, "the other calls to end", 60)

    def is_unharmed(self) -> None:
        """No packet is missing, and nothing is kept that was taken."""
        self.calm()
        enough = len(self.ear.numbers) + 10
        wait_until(lambda: len(self.ear.numbers) >= enough, "the call to be heard still")
        assert self.ear.steps == {1}, "a packet of the call is missing"
        wait_until(lambda: self._files(self.agent.facts()) <= GROWS_BY_FILES, "sockets to go", 5)
        grown = self.agent.facts().resident_bytes - self._before.resident_bytes
        assert grown / 2**20 < GROWS_BY_MIB, f"grown by {grown / 2**20:.0f} MiB"
        assert self._up.request("BYE") == 200

    def _files(self, now: Facts) -> int:
        return now.open_files - self._before.open_files


def takes_a_call_ms(up: Up[Any], over: Transport = "udp") -> float:
    """Until an honest caller is answered."""
    began = time.monotonic()
    with RawPhone(up.agent.port, over=over) as honest:
        assert honest.call(honest.sdp()).status == 200
        took_ms = (time.monotonic() - began) * 1000
        assert honest.request("BYE") == 200
    return took_ms


def is_answered_soon(up: Up[Any]) -> bool:
    """Whether a caller who comes again after a refusal is answered in time."""
    deadline = time.monotonic() + AFTER_S
    while time.monotonic() < deadline:
        with RawPhone(up.agent.port) as honest:
            if honest.call(honest.sdp()).status == 200:
                return honest.request("BYE") == 200
        time.sleep(0.5)
    return False
