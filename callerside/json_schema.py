"""JSON Schemas of what models send to functions: is one a schema, and do arguments fit it?

The checking is jsonschema's. It is imported where it is needed: most calls have no such schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator


def reserve() -> None:
    """Import what checks, which takes a tenth of a second: before there is anything to be late."""
    import referencing  # noqa: F401 - imported for that alone


def flaw_of(schema: Mapping[str, Any]) -> str | None:
    """Why something is no JSON Schema (2020-12), in words; None if it is one."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(
            schema, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        return f"{where + ': ' if where else ''}{error.message}: no JSON Schema"
    return None


def _checked_schema(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") != "object":
        raise ValueError("expected a JSON Schema of an object: {type: object, properties: {...}}")
    if (flaw := flaw_of(schema)) is not None:
        raise ValueError(flaw)
    return schema


ObjectSchema = Annotated[dict[str, Any], AfterValidator(_checked_schema)]
"""A JSON Schema (2020-12) of an object: of a function's arguments."""


def problem_with(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """What of the arguments does not fit the schema, in words; None if all does.

    References lead into the schema itself; nothing is fetched for one that leads elsewhere.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = Draft202012Validator(schema, registry=Registry())
    try:
        problem = best_match(validator.iter_errors(arguments))
    except Unresolvable as error:
        return f"the schema refers to what is not in it: {error}"
    except RecursionError:
        return "the schema refers to itself without an end"
    if problem is None:
        return None
    where = ".".join(map(str, problem.absolute_path))
    return f"{where}: {problem.message}" if where else str(problem.message)
