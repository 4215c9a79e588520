"""The harness's error on speech: calls of known truth, made in memory and measured as any other."""

__all__ = ["calibrate", "conditions", "over_sip", "table", "utterances"]
