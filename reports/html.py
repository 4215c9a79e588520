"""The pages: `index.html` of a run and `call.html` of a call. One file each, no network."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.results import CallResult, RunInfo, overall, summarise

_PAGES = Environment(
    loader=PackageLoader("reports", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def index_page(info: RunInfo, calls: Sequence[CallResult]) -> str:
    """The page of a run."""
    return _PAGES.get_template("index.html").render(
        info=info, calls=calls, summary=summarise(calls), verdict=overall(calls)
    )


def call_page(info: RunInfo, call: CallResult) -> str:
    """The page of a call."""
    return _PAGES.get_template("call.html").render(info=info, call=call)
