"""The bases of what people write in files: frozen, and strict about what they do not know."""

from pydantic import BaseModel, ConfigDict


class ScriptModel(BaseModel):
    """No unknown keys, no silent conversions, never changed; docstrings describe the fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Strict(BaseModel):
    """A frozen mapping without unknown keys, and without conversions that hide a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
