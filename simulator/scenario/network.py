"""The network between caller and agent as a scenario states it; `lanes.impairments` does it."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from callerside.models import Strict
from callerside.simulator.scenario.durations import DurationMs
from callerside.simulator.scenario.impairment import Impairment


def _parse_share(value: Any) -> float:
    number = value
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            number = float(value.strip()[:-1]) / 100
        except ValueError:
            number = None
    if isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number <= 1:
        return float(number)
    raise PydanticCustomError(
        "share",
        "{value} is no share of packets: expected 3% or a number from 0 to 1",
        {"value": repr(value)},
    )


Share = Annotated[
    float,
    BeforeValidator(_parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$"},
            ],
            "description": "A share of packets: 3%, or a number from 0 to 1",
        }
    ),
]


class Direction(Strict):
    """What happens to the packets of one direction."""

    loss: Share = Field(0.0, description="Lost, each by itself.")
    burst_loss: Share = Field(0.0, description="Lost in bursts (Gilbert-Elliott).")
    burst_packets: float = Field(5.0, ge=1, le=1000, description="Mean length of such a burst.")
    delay: DurationMs = Field(0.0, le=5000)
    jitter: DurationMs = Field(0.0, le=1000, description="Added to the delay, from 0 to this much.")
    reorder: Share = Field(0.0, description="Overtaken by the next.")
    duplicate: Share = 0.0
    dead: list[Annotated[tuple[DurationMs, DurationMs], Field(strict=False)]] = Field(
        default=[], description="Intervals, from and to, in which nothing passes."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "Direction":
        try:
            self.impairment()
        except ValueError as error:
            raise PydanticCustomError("network", "{why}", {"why": str(error)}) from None
        return self

    def impairment(self) -> Impairment:
        """The same for the model that both lanes share."""
        return Impairment(
            loss=self.loss,
            burst_loss=self.burst_loss,
            burst_packets=self.burst_packets,
            delay_ms=self.delay,
            jitter_ms=self.jitter,
            reorder=self.reorder,
            duplicate=self.duplicate,
            dead_ms=tuple(self.dead),
        )


class Network(Direction):
    """Both directions alike, or one of them by itself."""

    to_agent: Direction | None = Field(None, description="Instead of what is stated for both.")
    to_caller: Direction | None = Field(None, description="Instead of what is stated for both.")
    drift_ppm: float = Field(
        0.0,
        ge=-1000,
        le=1000,
        description="How slow the caller's media clock is, in millionths; in memory only.",
    )
    media_delay: DurationMs = Field(
        0.0,
        le=5000,
        description="How long after its answer the agent's media comes up; in memory only.",
    )

    def impairments(self) -> tuple[Impairment, Impairment]:
        """Towards the agent, and towards the caller."""
        to_agent, to_caller = self.to_agent or self, self.to_caller or self
        return to_agent.impairment(), to_caller.impairment()
