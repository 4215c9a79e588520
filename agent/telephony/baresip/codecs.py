"""The codecs of a call: PCM to what an RTP packet carries, and back."""

import ctypes
from typing import Protocol

from callerside.agent.telephony.baresip.native import Int, Pointer, open_library
from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import BYTES_PER_SAMPLE, AudioFormat, Encoding

_G722_BITS_PER_S = 64_000

_OPUS_LOW_DELAY = 2051
"""`OPUS_APPLICATION_RESTRICTED_LOWDELAY`."""
_OPUS_SET_BITRATE = 4002
_OPUS_BITS_PER_S = 64_000
"""As many as G.711 and G.722 have: what is heard is then what was said, as it is measured here."""
_OPUS_LEAST, _OPUS_MOST = 6_000, 510_000
"""Bits a second that can be asked for (RFC 7587 §6.1)."""
_OPUS_PACKET_BYTES = 1_275
_OPUS_LONGEST_MS = 120
"""Of a packet (RFC 6716 §3.2.5)."""
OPUS_DELAY_MS = 2.5
"""From what is encoded to what is decoded, of what is sent here; of others' packets theirs: 6.5
mostly, as the encoder looks ahead."""


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


class Opus:
    """RFC 6716, in one channel, of any rate that a call has; its clock says 48 kHz (RFC 7587).

    What is sent has no more delay than it must (`OPUS_DELAY_MS`), and so no redundancy (FEC); that
    of others is not read: what is lost is filled as with every codec.

    Args:
        rate_hz: 8, 12, 16, 24 or 48 kHz.
        most_bits_per_s: that the other side wants; 0, or what it cannot mean: as we like.
    """

    name = "OPUS"
    clock_hz = 48_000
    encoding: Encoding | None = None

    def __init__(self, rate_hz: int, most_bits_per_s: int = 0) -> None:
        self.rate_hz = rate_hz
        self._library = open_library()
        self._encoder = self._library.opus_encoder_create(rate_hz, 1, _OPUS_LOW_DELAY, None)
        self._decoder = self._library.opus_decoder_create(rate_hz, 1, None)
        wanted = most_bits_per_s if _OPUS_LEAST <= most_bits_per_s <= _OPUS_MOST else _OPUS_MOST
        self._library.opus_encoder_ctl(
            Pointer(self._encoder), Int(_OPUS_SET_BITRATE), Int(min(_OPUS_BITS_PER_S, wanted))
        )
        self._packet = ctypes.create_string_buffer(_OPUS_PACKET_BYTES)
        self._most_samples = rate_hz * _OPUS_LONGEST_MS // 1000
        self._pcm = ctypes.create_string_buffer(self._most_samples * BYTES_PER_SAMPLE)

    def __del__(self) -> None:
        """Give the library's memory back."""
        self._library.opus_encoder_destroy(self._encoder)
        self._library.opus_decoder_destroy(self._decoder)

    def encode(self, pcm: bytes) -> bytes:
        """See `Codec`."""
        samples = len(pcm) // BYTES_PER_SAMPLE
        count = self._library.opus_encode(
            self._encoder, pcm, samples, self._packet, _OPUS_PACKET_BYTES
        )
        return self._packet.raw[: max(0, count)]

    def decode(self, payload: bytes) -> bytes:
        """See `Codec`; what cannot be read is silence of the length that it says."""
        count = self._library.opus_decode(
            self._decoder, payload, len(payload), self._pcm, self._most_samples, 0
        )
        if count < 0:
            return bytes(self.duration(payload) * self.rate_hz // self.clock_hz * BYTES_PER_SAMPLE)
        return self._pcm.raw[: count * BYTES_PER_SAMPLE]

    def duration(self, payload: bytes) -> int:
        """See `Codec`."""
        samples = self._library.opus_packet_get_nb_samples(payload, len(payload), self.clock_hz)
        return max(0, int(samples))


def codec_named(name: str, rate_hz: int, most_bits_per_s: int = 0) -> Codec:
    """A new one, for one call.

    Args:
        name: of `telephony.options.CODECS`.
        rate_hz: the call's; a codec that has it needs no other.
        most_bits_per_s: that the other side wants to be sent, where it can be chosen; 0: any.
    """
    if name == "OPUS":
        return Opus(rate_hz, most_bits_per_s)
    return G722() if name == "G722" else G711(name)


def frame_samples(rate_hz: int) -> int:
    """How many samples a frame has."""
    return rate_hz * FRAME_MS // 1000
