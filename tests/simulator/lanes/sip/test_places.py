"""A run's processes hold as many calls as their SIP engines do."""

from pathlib import Path

import pytest

from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.agent.telephony.engines import survey
from callerside.simulator.lanes.sip.lane import SipLane

HERE = {found.name for found in survey() if not found.problem}


@pytest.mark.parametrize(
    ("agent", "caller", "pairs"),
    [("baresip", "baresip", 1), ("pjsua2", "pjsua2", 3), ("baresip", "pjsua2", 3)],
)
def test_twelve_calls_take_as_many_pairs_as_their_engines_need(
    tmp_path: Path, agent: EngineName, caller: EngineName, pairs: int
) -> None:
    if not {agent, caller} <= HERE:
        newest = PROFILES["pjsua2"].newest_python
        pytest.skip(f"pjsua2 has no wheel above Python {newest[0]}.{newest[1]}")
    lane = SipLane(
        [], tmp_path, lambda *_: None, calls_at_once=12, engine=agent, caller_engine=caller
    )
    assert len([pair for pair in lane._pairs if not pair.kind]) == pairs
    assert {pair.places._value for pair in lane._pairs} == {12 // pairs}
