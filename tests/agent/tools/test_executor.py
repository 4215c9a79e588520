import asyncio
import threading

from callerside.agent.call.events import CallInput, PromptStored
from callerside.agent.tools.executor import ThreadPool


async def test_results_come_back_on_the_loops_thread() -> None:
    done: asyncio.Future[tuple[CallInput, int]] = asyncio.get_running_loop().create_future()
    result = PromptStored(key="k")
    where: list[int] = []

    def work() -> CallInput:
        where.append(threading.get_ident())
        return result

    ThreadPool("test", 1).run(work, lambda told: done.set_result((told, threading.get_ident())))
    assert await asyncio.wait_for(done, 10) == (result, threading.get_ident())
    assert where != [threading.get_ident()]


async def test_work_that_hangs_holds_up_nobody_until_the_bound() -> None:
    background = ThreadPool("test", 2)
    hang, got = threading.Event(), asyncio.Event()

    def hanging() -> CallInput:
        hang.wait(30)
        return PromptStored(key="late")

    told: list[CallInput] = []

    def on_done(result: CallInput) -> None:
        told.append(result)
        got.set()

    background.run(hanging, on_done)
    background.run(lambda: PromptStored(key="quick"), on_done)
    await asyncio.wait_for(got.wait(), 10)
    assert told == [PromptStored(key="quick")]
    hang.set()


async def test_beyond_the_bound_work_is_dropped_and_later_work_is_not() -> None:
    background = ThreadPool("test", 1)
    hang, finished = threading.Event(), asyncio.Event()

    def hanging() -> CallInput:
        hang.wait(30)
        return PromptStored(key="first")

    told: list[CallInput] = []

    def on_done(result: CallInput) -> None:
        told.append(result)
        finished.set()

    background.run(hanging, on_done)
    background.run(lambda: PromptStored(key="dropped"), on_done)
    hang.set()
    await asyncio.wait_for(finished.wait(), 10)
    finished.clear()
    background.run(lambda: PromptStored(key="second"), on_done)
    await asyncio.wait_for(finished.wait(), 10)
    assert told == [PromptStored(key="first"), PromptStored(key="second")]


async def test_work_with_a_bug_gives_its_thread_back() -> None:
    background = ThreadPool("test", 1)
    finished = asyncio.Event()
    failed = threading.Event()

    def broken() -> CallInput:
        failed.set()
        raise RuntimeError("a bug")

    background.run(broken, lambda _: None)
    await asyncio.get_running_loop().run_in_executor(None, failed.wait, 10)

    def try_again() -> None:
        background.run(lambda: PromptStored(key="k"), lambda _: finished.set())

    async with asyncio.timeout(10):
        while not finished.is_set():
            try_again()
            await asyncio.sleep(0.01)
