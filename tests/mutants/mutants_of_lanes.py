"""Faults of lanes and runner that were mended."""

from mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        name="jitter_reorders_over_sip",
        row="lanes 2",
        says="packets that were held back together leave in another order",
        in_calls=False,  # in memory nothing is held back by that relay
        edits=(
            Edit(
                "simulator/lanes/sip/rtp_relay.py",
                "heappush(self._packets, (arrival_ns, next(self._count), send))",
                "heappush(self._packets, (arrival_ns, -next(self._count), send))",
            ),
        ),
        tests=("tests/simulator/lanes/sip/test_rtp_order.py",),
    ),
)
