"""A plugin of mypy: where a mark is written or looked for, it is one of the registry.

What writes marks is a function of one of the rooms called as in `_WRITERS`. It takes the name of
the mark (and, in a room that plays another's part, its source first), and its fields as a mapping
`fields` or as keywords `**fields`. Where the name is a literal, the call is checked as if that
function knew this one mark only. Fields that are gathered elsewhere (`**more`, a variable) are left
to the tests, which hold every mark they see to the registry.

What looks for marks is `CallEvidence.find` and its neighbours: a name that its source never writes
would be found in no call.
"""

from collections.abc import Callable, Mapping
from typing import cast

from mypy.nodes import ARG_NAMED, ARG_NAMED_OPT, ARG_STAR2, CallExpr, DictExpr, Expression, StrExpr
from mypy.plugin import FunctionSigContext, MethodSigContext, Plugin, ReportConfigContext
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    NoneType,
    Type,
    TypedDictType,
    TypeOfAny,
    UnionType,
)

from callerside.mark_registry import MARKS, Field, Kind, MarkKind
from callerside.marks import Source

_WRITERS = ("mark", "mark_sent", "_mark")
_READERS = tuple(
    f"callerside.reports.evidence.CallEvidence.{name}" for name in ("find", "first", "last")
)
_SOURCES: Mapping[str, Source] = {
    "callerside.agent.": "agent",
    "callerside.fakes.": "realtime",
    "callerside.simulator.": "caller",
}
_TYPES: Mapping[Kind, str] = {
    "text": "builtins.str",
    "whole number": "builtins.int",
    "number": "builtins.float",
    "yes or no": "builtins.bool",
}

Context = MethodSigContext | FunctionSigContext


class MarksPlugin(Plugin):
    """Puts the registry's fields into the signatures of what writes marks."""

    def get_method_signature_hook(
        self, fullname: str
    ) -> Callable[[MethodSigContext], FunctionLike] | None:
        """The hook for a method, by its full name."""
        return self._hook(fullname)

    def get_function_signature_hook(
        self, fullname: str
    ) -> Callable[[FunctionSigContext], FunctionLike] | None:
        """The hook for a function, by its full name."""
        return self._hook(fullname)

    def report_config_data(self, ctx: ReportConfigContext) -> str:  # noqa: ARG002 - mypy's
        """What mypy keeps of a module is of no use after a change to the registry."""
        return repr(MARKS)

    @staticmethod
    def _hook(fullname: str) -> Callable[[Context], FunctionLike] | None:
        if fullname in _READERS:
            return _looked_for
        if fullname.rpartition(".")[2] not in _WRITERS:
            return None
        sources = [source for room, source in _SOURCES.items() if fullname.startswith(room)]
        return (lambda context: _signature(context, sources[0])) if sources else None


def plugin(_version: str) -> type[Plugin]:
    """Where mypy looks."""
    return MarksPlugin


def _signature(context: Context, source: Source) -> CallableType:
    signature = context.default_signature
    literals = _literals(context)
    if literals and "source" in signature.arg_names:
        source = cast(Source, literals.pop(0).value)
    if not literals or "fields" not in signature.arg_names:
        return signature
    mark = _declared(context, source, literals[0])
    if mark is None:
        return signature
    place = signature.arg_names.index("fields")
    if signature.arg_kinds[place] is ARG_STAR2:
        return _with_keywords(context, mark, place)
    return _with_mapping(context, mark, place)


def _looked_for(context: Context) -> FunctionLike:
    """Find names that the source, where that is a literal, never writes."""
    source, *names = [*context.args[0], *context.args[1]]
    if isinstance(source, StrExpr):
        for name in names:
            if isinstance(name, StrExpr):
                _declared(context, cast(Source, source.value), name)
    return context.default_signature


def _declared(context: Context, source: Source, name: StrExpr) -> MarkKind | None:
    """The mark of that name; without one, mypy says so."""
    mark = MARKS[source].get(name.value)
    if mark is None:
        context.api.fail(f"{source} {name.value}: no such mark is declared", name)
    return mark


def _literals(context: Context) -> list[StrExpr]:
    """Arguments without a keyword that are texts."""
    kinds = context.default_signature.arg_kinds
    return [
        one
        for kind, given in zip(kinds, context.args, strict=True)
        for one in given
        if kind.is_positional() and isinstance(one, StrExpr)
    ]


def _with_keywords(context: Context, kind: MarkKind, place: int) -> CallableType:
    """The fields instead of `**fields`, unless the call itself has a `**`."""
    signature, call = context.default_signature, context.context
    if isinstance(call, CallExpr) and ARG_STAR2 in call.arg_kinds:
        return signature
    fields = kind.fields.values()
    names, kinds, types = (
        list(found) for found in (signature.arg_names, signature.arg_kinds, signature.arg_types)
    )
    names[place : place + 1] = list(kind.fields)
    kinds[place : place + 1] = [ARG_NAMED_OPT if f.optional else ARG_NAMED for f in fields]
    types[place : place + 1] = [_type(context, field) for field in fields]
    return signature.copy_modified(arg_names=names, arg_kinds=kinds, arg_types=types)


def _with_mapping(context: Context, kind: MarkKind, place: int) -> CallableType:
    """`fields` as a `TypedDict`, if the call writes it out."""
    signature, fields = context.default_signature, _only(context.args[place])
    required = {name for name, field in kind.fields.items() if not field.optional}
    if fields is None and required:
        context.api.fail(f"{kind.name}: without its {', '.join(sorted(required))}", context.context)
    if not isinstance(fields, DictExpr) or any(key is None for key, _ in fields.items):
        return signature
    types = list(signature.arg_types)
    types[place] = TypedDictType(
        {name: _type(context, field) for name, field in kind.fields.items()},
        required,
        set(),
        context.api.named_generic_type("typing._TypedDict", []),
    )
    return signature.copy_modified(arg_types=types)


def _type(context: Context, field: Field) -> Type:
    if field.kind == "JSON":
        return AnyType(TypeOfAny.explicit)
    found = context.api.named_generic_type(_TYPES[field.kind], [])
    return UnionType([found, NoneType()]) if field.nullable else found


def _only(expressions: list[Expression]) -> Expression | None:
    return expressions[0] if len(expressions) == 1 else None
