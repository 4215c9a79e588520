"""The pacer sends in each one's period, sleeps without calls, and waits for the lock."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from callerside.agent.telephony.media.pacer import Pacer
from callerside.clock import NS_PER_MS

WAIT_S = 10.0


class Sender:
    """Counts what it is to send."""

    def __init__(self, period_ms: int = 20) -> None:
        self.period_ns = period_ms * NS_PER_MS
        self.sent_ns: list[int] = []
        self.missed: list[int] = []
        self.missed_until_ns = 0
        self.threads: set[str] = set()
        self.error: Exception | None = None
        self.fails_making = False
        self.takes_s = 0.0
        self.order: list[str] | None = None

    def pass_over(self, packets: int, at_ns: int) -> None:
        self.missed.append(packets)
        self.missed_until_ns = at_ns

    def make(self, at_ns: int) -> Callable[[], object] | None:
        if self.order is not None:
            self.order.append("made")
        time.sleep(self.takes_s)
        if self.error is not None and self.fails_making:
            self.sent_ns.append(at_ns)
            raise self.error
        return partial(self.send, at_ns)

    def send(self, at_ns: int) -> None:
        self.sent_ns.append(at_ns)
        self.threads.add(threading.current_thread().name)
        if self.order is not None:
            self.order.append("sent")
        if self.error is not None:
            raise self.error


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def pacer() -> Iterator[Pacer]:
    registered: list[str] = []
    made = Pacer(threading.RLock(), lambda: registered.append(threading.current_thread().name))
    yield made
    made.stop()
    assert registered in ([], ["pacer"])


def test_without_calls_there_is_no_thread(pacer: Pacer) -> None:
    assert pacer._thread is None


def test_all_are_sent_on_one_thread_and_one_grid(pacer: Pacer) -> None:
    quick, slow = Sender(10), Sender(40)
    pacer.add(quick)
    pacer.add(slow)
    until(lambda: len(slow.sent_ns) >= 5)
    pacer.remove(quick)
    pacer.remove(slow)
    assert quick.threads == slow.threads == {"pacer"}
    assert len(quick.sent_ns) == pytest.approx(4 * len(slow.sent_ns), abs=8)


def test_what_is_removed_is_not_sent_again(pacer: Pacer) -> None:
    sender = Sender()
    pacer.add(sender)
    until(lambda: bool(sender.sent_ns))
    pacer.remove(sender)
    sent = len(sender.sent_ns)
    time.sleep(0.1)
    assert len(sender.sent_ns) == sent
    pacer.add(sender)  # the thread sleeps, and wakes
    until(lambda: len(sender.sent_ns) > sent)


def test_nothing_is_sent_while_somebody_holds_the_lock() -> None:
    lock = threading.RLock()
    pacer, sender = Pacer(lock, lambda: None), Sender()
    pacer.add(sender)
    until(lambda: bool(sender.sent_ns))
    with lock:
        sent = len(sender.sent_ns)
        time.sleep(0.1)
        assert len(sender.sent_ns) == sent
    until(lambda: len(sender.sent_ns) >= sent + 4)  # what was missed is made up for
    pacer.stop()


@pytest.mark.parametrize(
    ("behind_ms", "missed", "at_once"),
    [(0, 0, 1), (19, 0, 1), (60, 0, 4), (100, 0, 6), (101, 5, 1), (115, 5, 1), (900, 45, 1)],
)
def test_who_could_not_run_makes_up_for_a_little_and_passes_over_the_rest(
    monkeypatch: pytest.MonkeyPatch, behind_ms: int, missed: int, at_once: int
) -> None:
    """Either way as many packets' times have passed as there were, and the grid is the same."""
    now_ms = [1_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ms[0] * NS_PER_MS)
    pacer, sender = Pacer(threading.RLock(), lambda: None), Sender()
    pacer._thread = threading.Thread()  # it is this one
    pacer._began_ns = now_ms[0] * NS_PER_MS
    pacer.add(sender)
    now_ms[0] += 20
    assert pacer._send_what_is_due() == 20 * NS_PER_MS
    assert (sender.sent_ns, sender.missed) == ([1_020 * NS_PER_MS], [])
    now_ms[0] += 20 + behind_ms
    sent = 0
    while pacer._send_what_is_due() <= 0:  # type: ignore[operator] # there is something to send
        sent += 1
    assert (sent + 1, sum(sender.missed)) == (at_once, missed)
    assert sent + 1 + missed == behind_ms // 20 + 1
    assert sender.missed_until_ns == (1_020 + 20 * missed) * NS_PER_MS * bool(missed)
    assert pacer._due_ns[sender] == (1_060 + behind_ms - behind_ms % 20) * NS_PER_MS


def test_the_packets_of_one_tick_are_sent_right_behind_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gets several of them wakes once."""
    now_ms = [1_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ms[0] * NS_PER_MS)
    order: list[str] = []
    pacer, senders = Pacer(threading.RLock(), lambda: None), [Sender(), Sender()]
    pacer._thread = threading.Thread()  # it is this one
    pacer._began_ns = now_ms[0] * NS_PER_MS
    for sender in senders:
        sender.order = order
        pacer.add(sender)
    now_ms[0] += 20
    pacer._send_what_is_due()
    assert order == ["made", "made", "sent", "sent"]


@pytest.mark.parametrize("making", [False, True])
def test_one_that_fails_stops_no_other(pacer: Pacer, making: bool) -> None:
    broken, sound = Sender(), Sender()
    broken.error, broken.fails_making = RuntimeError("a bug"), making
    pacer.add(broken)
    pacer.add(sound)
    until(lambda: len(sound.sent_ns) >= 3 and len(broken.sent_ns) >= 3)


def test_who_takes_longer_than_a_period_keeps_no_other_out(pacer: Pacer) -> None:
    """Whoever adds or removes a call gets the lock, though the thread wants it back at once."""
    slow, sound = Sender(), Sender()
    slow.takes_s = 0.03
    pacer.add(slow)
    until(lambda: len(slow.sent_ns) >= 3)
    began = len(slow.sent_ns)
    pacer.add(sound)
    assert len(slow.sent_ns) <= began + 5
    until(lambda: len(sound.sent_ns) >= 3)
    pacer.remove(slow)


def test_what_fails_all_the_time_is_told_once(
    pacer: Pacer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback for each packet would take longer than the packets have."""
    broken = Sender()
    broken.error = RuntimeError("a bug")
    pacer.add(broken)
    until(lambda: len(broken.sent_ns) >= 5)
    pacer.remove(broken)
    assert capsys.readouterr().out.count("sip_media_failed") == 1
