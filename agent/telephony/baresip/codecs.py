"""The codecs of a call: PCM to what an RTP packet carries, and back."""

import ctypes
from typing import Protocol

from callerside.agent.telephony.baresip.native import open_library
from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat, Encoding

_G722_BITS_PER_S = 64_000


class Codec(Protocol):
    """One call's codec, in both directions; it remembers what came before."""

    name: str
    clock_hz: int
    """Of RTP's timestamps."""
    rate_hz: int
    """Of its PCM."""
    encoding: Encoding | None
    """If it is G.711."""

    def encode(self, pcm: bytes) -> bytes:
        """PCM at `rate_hz` as a packet carries it."""

    def decode(self, payload: bytes) -> bytes:
        """A packet's audio."""

    def duration(self, payload: bytes) -> int:
        """How long it is, in the units of `clock_hz`."""


class G711:
    """PCMU and PCMA: a byte a sample."""

    clock_hz = rate_hz = 8_000

    def __init__(self, name: str) -> None:
        self.name = name
        self.encoding: Encoding | None = "pcmu" if name == "PCMU" else "pcma"
        self._format = AudioFormat(self.encoding)
        self.decode = self._format.decode

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec`; of µ-law's two zeros the positive one is silence to everybody."""
        payload = self._format.encode(pcm)
        return payload.replace(b"\x7f", b"\xff") if self.name == "PCMU" else payload

    def duration(self, payload: bytes) -> int:
        """See `Codec`."""
        return len(payload)


class G722:
    """Two samples a byte at 16 kHz; its clock says 8 kHz (RFC 3551 §4.5.2)."""

    name = "G722"
    clock_hz, rate_hz = 8_000, 16_000
    encoding: Encoding | None = None

    def __init__(self) -> None:
        self._library = open_library()
        self._encoder = self._library.g722_encoder_new(_G722_BITS_PER_S, 0)
        self._decoder = self._library.g722_decoder_new(_G722_BITS_PER_S, 0)

    def __del__(self) -> None:
        """Give the library's memory back."""
        self._library.g722_encoder_destroy(self._encoder)
        self._library.g722_decoder_destroy(self._decoder)

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec`."""
        samples = len(pcm) // BYTES_PER_SAMPLE
        out = ctypes.create_string_buffer(samples)
        count = self._library.g722_encode(self._encoder, pcm, samples, out)
        return out.raw[:count]

    def decode(self, payload: bytes) -> bytes:
        """See `Codec`."""
        out = ctypes.create_string_buffer(2 * BYTES_PER_SAMPLE * len(payload))
        count = self._library.g722_decode(self._decoder, payload, len(payload), out)
        return out.raw[: count * BYTES_PER_SAMPLE]

    def duration(self, payload: bytes) -> int:
        """See `Codec`."""
        return len(payload)


def codec_named(name: str) -> Codec:
    """A new one, for one call."""
    return G722() if name == "G722" else G711(name)


def frame_samples(rate_hz: int) -> int:
    """How many samples a frame has."""
    return rate_hz * FRAME_MS // 1000
