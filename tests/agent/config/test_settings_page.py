"""The page of settings is made from the models, and everything in it is explained."""

from pydantic import BaseModel

from callerside.agent.config.reference import render
from callerside.agent.config.settings import Settings


def test_every_setting_is_on_the_page() -> None:
    page = render()

    def names(model: type[BaseModel]) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            found.add(name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found |= names(field.annotation)
        return found

    sections = {line for line in page.splitlines() if line.startswith("## ")}
    for name in names(Settings) - {"routes"}:
        assert f"| `{name}` |" in page or any(f"{name}`" in line for line in sections), name


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
