"""One call to be played, and what is left of one that was: what a lane takes and gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callerside.simulator.scenario.model import Scenario

if TYPE_CHECKING:
    from callerside.reports.evidence import CallEvidence

Lane = Literal["sip", "virtual"]


Verdict = Literal["passed", "failed", "error"]


@dataclass(frozen=True, kw_only=True)
class PlannedCall:
    """One call of a run."""

    name: str
    """Unique in the run, whatever is attempted; fit for a URL's path and a file's name."""
    scenario: Scenario
    seed: int
    greeting_cache: str
    """The call whose greeting cache this one uses: its own, or that of the one it comes after."""
    after: str | None = None
    """The call that must be over before this one starts."""
    repeat: int = 1
    """Which of the calls that `repeat` asks for, from 1."""
    attempt: int = 1
    """2: it is placed once more, while no other call goes on."""
    together: str = ""
    """Calls with the same word here are callers of one scenario, who call at once."""
    start_delay_ms: float = 0
    """How much later than its turn it starts: many callers come one after another."""

    @property
    def address(self) -> str:
        """What agent and server know the attempt by; no scenario can be called so, for its dot."""
        return self.name if self.attempt == 1 else f"{self.name}.{self.attempt}"


@dataclass(frozen=True, kw_only=True)
class PlayedCall:
    """What is left of a call that was played: where its evidence lies, and how the caller judged.

    `verdict` is "error" when the run could not do its part: a process died, evidence is missing.
    """

    planned: PlannedCall
    directory: Path
    verdict: Verdict
    detail: str
    took_s: float
    ours: bool = True
    """Whether agent and server were ours, and their marks are here."""
    evidence: "CallEvidence | None" = None
    """What lies in `directory`, as it would be read from there, where it is at hand."""
