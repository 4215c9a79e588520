"""The page of settings is made from the models, and everything in it is explained."""

from collections.abc import Iterator
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel

from callerside.agent.config.reference import render
from callerside.agent.config.settings import Settings


def test_every_setting_is_on_the_page() -> None:
    page = render()

    def names(model: type[BaseModel]) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            found.add(name)
            for one in models(field.annotation):
                found |= names(one)
        return found

    def models(annotation: object) -> Iterator[type[BaseModel]]:
        """A section's, or those of a mapping of sections."""
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        elif get_origin(annotation) in (dict, Annotated):
            yield from (model for one in get_args(annotation) for model in models(one))

    sections = {line for line in page.splitlines() if line.startswith("## ")}
    for name in names(Settings) - {"routes"}:
        assert f"| `{name}` |" in page or any(
            f"{name}`" in line or f"{name}.NAME`" in line for line in sections
        ), name


def test_every_setting_says_what_it_means() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []


def test_rows_tell_type_bounds_default_and_meaning() -> None:
    page = render()
    assert (
        "| `append_interval_ms` | whole number, ≥ 20, ≤ 100, multiple of 20 | `20` | "
        "Caller audio goes out this often. |" in page
    )
    assert '| `policy` | `server` or `client` or `local` | `"server"` |' in page
