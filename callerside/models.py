"""The base of what people write in files, and clients send: frozen, and strict about the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import core_schema


class Strict(BaseModel):
    """No unknown keys, no silent conversions, never changed; docstrings describe the fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, eq=False, slots=True)  # an annotation is hashed
class Tagged:
    """Annotates a union whose members are known by a tag, so that only one's mistakes are told."""

    members: Mapping[str, Any]
    """All that the union has, by tag."""
    tag_of: Callable[[Any], str | None]
    """The tag of a value, of data or of a member; None if it has none."""

    def __get_pydantic_core_schema__(
        self, _union: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """The union as pydantic checks it."""
        choices = {tag: handler.generate_schema(one) for tag, one in self.members.items()}
        return core_schema.tagged_union_schema(choices, self.tag_of)
