"""A call's audio on its way: packets that come and leave, the buffers between, losses concealed."""

__all__ = [
    "arrivals", "concealment", "frame_rate", "jitter_buffer", "latching", "pacer", "packet_reader",
    "playout_buffer", "rtcp", "rtp",
]  # fmt: skip
