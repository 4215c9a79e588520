"""Each benchmark beside reference work in the same run: machines differ, and so do their hours."""

from collections.abc import Iterator
from typing import Any

import pytest
from process_cost import loop_s


@pytest.fixture(autouse=True)
def _beside_reference_work(request: pytest.FixtureRequest) -> Iterator[None]:
    """Puts `loops` into a benchmark's figures: its median in loops, played before and after it."""
    benchmark: Any = (
        request.getfixturevalue("benchmark") if "benchmark" in request.fixturenames else None
    )
    if benchmark is None or benchmark.disabled:
        yield
        return
    before_s = loop_s()
    yield
    if benchmark.stats is not None:
        reference_s = (before_s + loop_s()) / 2
        benchmark.extra_info["reference_loop_s"] = reference_s
        benchmark.extra_info["loops"] = benchmark.stats.stats.median / reference_s
