"""What is there when a process begins its work costs no later garbage collection anything."""

import gc

from callerside.agent.service.signals import keep_what_is_there


def test_later_collections_pass_over_what_is_there() -> None:
    there = [[] for _ in range(1_000)]  # type: ignore[var-annotated]
    try:
        keep_what_is_there()
        assert gc.get_freeze_count() >= len(there)
        assert not any(one is there for one in gc.get_objects())
    finally:
        gc.unfreeze()
