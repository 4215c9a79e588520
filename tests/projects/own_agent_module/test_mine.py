"""The user's tests: of the agent that lies beside them, and with our fixture."""

import agent


def test_mine() -> None:
    assert agent.main() == "mine"


def test_with_a_server_of_ours(fake_realtime) -> None:
    assert fake_realtime().url.startswith("ws://")
