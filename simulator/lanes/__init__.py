"""Where a scenario is played: over real SIP and RTP, or in memory under a virtual clock."""

__all__ = ["planned_call", "sip", "virtual"]
