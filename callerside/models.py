"""The base of what people write in files, and clients send: frozen, and strict about the rest."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Strict(BaseModel):
    """No unknown keys, no silent conversions, never changed; docstrings describe the fields.

    Pydantic would read the docstrings when a class is made (`use_attribute_docstrings`): a fifth of
    a command's start, for what only pages, schemas and error messages say. They are read when one
    of these is made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """The JSON Schema, with what docstrings say of the fields."""
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in descriptions(cls).items():
            if name in properties:
                properties[name]["description"] = text  # before what is said of its type
        return schema


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """What is said of a model's fields, by the name that they have in files."""
    told: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel):
            told |= _attribute_docstrings(one)
    fields = model.model_fields.items()
    own = {name: field.description or told.get(name) for name, field in fields}
    return {field.alias or name: text for name, field in fields if (text := own[name])}


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Of the fields that a class declares itself; none, where its source is not there."""
    definition = _classes_of(model.__module__).get(model.__qualname__)
    found = {}
    for field, text in pairwise(definition.body if definition is not None else ()):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(text.value.value)
    return found


@cache
def _classes_of(module: str) -> Mapping[str, ast.ClassDef]:
    """The classes that a module defines, by their qualified names; none without its source.

    `inspect.getsource` of a class reads all of its module each time: seconds, for all of ours.
    """
    try:
        return dict(_classes_in(ast.parse(inspect.getsource(sys.modules[module])), ""))
    except (OSError, TypeError, KeyError, SyntaxError):
        return {}


def _classes_in(tree: ast.AST, within: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.stmt):
            continue  # an expression, which defines none
        if isinstance(node, ast.ClassDef):
            yield f"{within}{node.name}", node
        opened = _OPENED.get(type(node))
        name = within if opened is None else f"{within}{getattr(node, 'name')}{opened}"  # noqa: B009
        yield from _classes_in(node, name)


_OPENED: dict[type[ast.AST], str] = {
    ast.ClassDef: ".",
    ast.FunctionDef: ".<locals>.",
    ast.AsyncFunctionDef: ".<locals>.",
}
"""What a qualified name has between a statement's own name and those of what stands in it."""


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
