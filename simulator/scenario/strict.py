"""The base of everything that a scenario file is made of."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen mapping without unknown keys, and without conversions that hide a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
