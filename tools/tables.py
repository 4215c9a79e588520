"""Tables of the documentation, as Markdown, from the registries."""

from collections.abc import Iterable, Sequence

from callerside.mark_registry import MARKS, Field
from callerside.marks import Source


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [
        header,
        ["---"] * len(header),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def marks(source: Source) -> str:
    """The marks that one source writes."""
    return table(
        ["name", "fields", "when"],
        (
            [
                f"`{kind.name}`",
                "<br>".join(_field(name, field) for name, field in kind.fields.items()),
                kind.meaning,
            ]
            for kind in MARKS[source].values()
        ),
    )


def _field(name: str, field: Field) -> str:
    """As `status?`: whole number, of HTTP."""
    expected = " or ".join(f"`{word}`" for word in field.words) or field.kind
    unit = f" of {field.unit}" if field.unit and not field.words else ""
    told = [f"{expected}{unit}", *(["or null"] if field.nullable else []), field.meaning]
    return f"`{name}{'?' if field.optional else ''}`: {', '.join(filter(None, told))}"
