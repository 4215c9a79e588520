"""The sip lane: processes, accounts, the relay between them, and what they leave behind."""

__all__ = [
    "account",
    "child_process",
    "config",
    "lane",
    "nursery",
    "order",
    "process_pair",
    "scheduler_stalls",
    "speech_files",
    "stall_marks",
]
