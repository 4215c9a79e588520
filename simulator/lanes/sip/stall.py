"""A time that the machine took, as a watch tells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which a processor did nothing for us, or for one of our processes.

    It was over by `at_ns`; `cpu` is -1 where it was not one processor's.
    """

    at_ns: int
    late_ms: float
    cpu: int = -1
    process: str = ""
    within_ms: float = 0.0
    """In how long a time before `at_ns` it lay; 0: it ended then."""
    sure: bool = False
    """Whether whoever watched ran before everything else: nobody of the run made it late."""
    cpus: int = 0
    """How many processors are watched, where it is one's."""
