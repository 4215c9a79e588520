"""What a JSON Schema, as pydantic writes it, says of the parts of its data."""

from collections.abc import Mapping
from typing import Any


def children(branch: Mapping[str, Any], part: int | str) -> list[Mapping[str, Any]]:
    """The schemas of what stands under a key, or at a position, of a branch's data."""
    if isinstance(part, int):
        return [branch["items"]] if "items" in branch else []
    properties = branch.get("properties", {})
    if part in properties:
        return [properties[part]]
    named = [branch.get("additionalProperties"), *branch.get("patternProperties", {}).values()]
    return [child for child in named if isinstance(child, Mapping)]


def alternatives(branch: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a schema may be, references followed into `root`: one, if it is no union."""
    if "$ref" in branch:
        return alternatives(root["$defs"][branch["$ref"].rsplit("/", 1)[-1]], root)
    options = [*branch.get("anyOf", ()), *branch.get("oneOf", ()), *branch.get("allOf", ())]
    if not options:
        return [branch]
    return [found for option in options for found in alternatives(option, root)]
