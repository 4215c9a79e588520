"""What is asked for: the scenarios of some files and folders, by names and tags, by a draw."""

from collections.abc import Sequence
from pathlib import Path

from callerside.command_line import CommandError
from callerside.simulator.runner.plan import with_forerunners
from callerside.simulator.runner.selection import SelectionError, draw, select
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Lane, Scenario
from callerside.yaml.errors import nearest


class RunError(CommandError):
    """The run could not be done at all; nothing is said about the agent."""


def choose(
    paths: Sequence[Path],
    expression: str | None = None,
    lane: Lane | None = None,
    *,
    sample: float | None = None,
    seed: int = 0,
) -> list[Scenario]:
    """The scenarios that are asked for and that `lane` can play, forerunners included.

    Of what fits a `sample` is drawn, a share, by `seed`.

    Raises:
        RunError: a file cannot be read, or nothing is left.
    """
    try:
        loaded = loader.load(paths)
        chosen = select(loaded, expression) if expression else loaded
        chosen = [one for one in chosen if lane in (None, *one.lanes)]
        chosen = chosen if sample is None else draw(chosen, sample, seed)
        everything = loader.with_forerunners_beside(loaded)
    except (loader.ScenarioError, SelectionError) as error:
        raise RunError(str(error)) from None
    chosen = [s for s in with_forerunners(chosen, everything) if lane in (None, *s.lanes)]
    if not chosen:
        where = ", ".join(map(str, paths))
        wanted = [f"that the {lane} lane plays"] if lane else []
        if expression:
            words = [word for one in loaded for word in (one.name, *one.tags)]
            whole = loader.scenario_of_call(expression)
            is_call = whole != expression and whole in words
            near = f"; {whole} plays all of its calls: -k {whole}" if is_call else None
            wanted += [f"that fits -k {expression!r}{near or nearest(expression, words)}"]
        raise RunError(f"{where}: no scenario {' and '.join(wanted)} (of {len(loaded)})")
    return chosen
