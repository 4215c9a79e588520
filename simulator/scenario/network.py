"""The network between caller and agent as a scenario states it; `lanes.impairments` does it."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from callerside.durations import Between, DurationMs
from callerside.models import Strict
from callerside.registry import NotDrawn, OneIn


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


_Times = list[Annotated[tuple[DurationMs, DurationMs], Field(strict=False)]]

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

    loss: Annotated[Share, OneIn(6, (0.01, 0.05, 0.2))] = Field(
        0.0, description="Lost, each by itself."
    )
    burst_loss: Annotated[Share, OneIn(8, (0.02, 0.1))] = Field(
        0.0, lt=1, description="Lost in bursts (Gilbert-Elliott)."
    )
    burst_packets: Annotated[float, NotDrawn("bursts are what matters, not how long")] = Field(
        5.0, ge=1, le=1000, description="Mean length of such a burst."
    )
    delay: Annotated[DurationMs, Between(0, 5000), OneIn(6, (40, 150, 400))] = 0.0
    jitter: Annotated[DurationMs, Between(0, 1000), OneIn(6, (15, 60, 200))] = Field(
        0.0, description="Added to the delay, from 0 to this much."
    )
    reorder: Annotated[Share, OneIn(8, (0.02, 0.2))] = Field(
        0.0, description="Overtaken by the next."
    )
    duplicate: Annotated[Share, OneIn(10, (0.05, 0.5))] = 0.0
    dead: Annotated[_Times, NotDrawn("it is a burst that is not left to chance")] = Field(
        default=[], description="Intervals, from and to, in which nothing passes."
    )
    stalled: Annotated[_Times, NotDrawn("it is jitter that is not left to chance")] = Field(
        default=[],
        description="Intervals, from and to, in which packets are held back: all come at the end.",
    )

    @property
    def intervals(self) -> dict[str, _Times]:
        """What is bad for a while, by its name: from and to in ms, since the first packet."""
        return {"dead": self.dead, "stalled": self.stalled}

    @property
    def enter_burst(self) -> float:
        """The chance of a packet to begin a burst that makes their share `burst_loss`."""
        return self.burst_loss / (1 - self.burst_loss) / self.burst_packets

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.enter_burst > 1:
            why = f"burst_loss: {self.burst_loss} needs bursts of more than {self.burst_packets}"
            raise PydanticCustomError("network", "{why}", {"why": why})
        for name, times in self.intervals.items():
            for begin_ms, end_ms in times:
                if begin_ms >= end_ms:
                    why = f"{name}: expected 0 <= from < to, got {begin_ms} to {end_ms}"
                    raise PydanticCustomError("network", "{why}", {"why": why})
        return self


_ONE_WAY = NotDrawn("what both directions suffer, each does")


class Network(Direction):
    """Both directions alike, or one of them by itself."""

    to_agent: Annotated[Direction | None, _ONE_WAY] = Field(
        None, description="Instead of what is stated for both."
    )
    to_caller: Annotated[Direction | None, _ONE_WAY] = Field(
        None, description="Instead of what is stated for both."
    )
    drift_ppm: Annotated[float, OneIn(8, (50, -50, 1000, -1000))] = Field(
        0.0,
        ge=-1000,
        le=1000,
        description="How slow the caller's media clock is, in millionths; in memory only.",
    )
    media_delay: Annotated[
        DurationMs, Between(0, 5000), NotDrawn("it has a scene of its own, a rare one")
    ] = Field(
        0.0,
        description="How long after its answer the agent's media comes up; in memory only.",
    )

    def directions(self) -> tuple[Direction, Direction]:
        """Towards the agent, and towards the caller."""
        return self.to_agent or self, self.to_caller or self
