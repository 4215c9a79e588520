"""Where PJSIP's functions are not exported, the stack's own refusal remains, and that is said."""

import pytest
from structlog.testing import capture_logs

from agent.sip.gate import Gate


def test_without_pjsips_functions_calls_are_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _path: object())
    refused: list[int] = []
    with capture_logs() as logs:
        Gate(5, lambda: 486, lambda status, _what: refused.append(status)).open()
    assert [line["event"] for line in logs] == ["sip_gate_missing"]
    assert "pjsua_get_pjsip_endpt" in logs[0]["reason"]
    assert not refused
