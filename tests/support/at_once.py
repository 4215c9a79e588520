"""Long tests of one file that wait for most of their time: played at once, each told by itself."""

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Name = TypeVar("Name", bound=Hashable)
T = TypeVar("T")


class AtOnce(Generic[Name, T]):
    """Stories by their names, each in a thread of its own: `with AtOnce(stories) as at_once`.

    What a story has started is its own: it shares nothing with another. At the end all are over.
    """

    def __init__(self, stories: Mapping[Name, Callable[[], T]]) -> None:
        self._stories = stories
        self._threads = ThreadPoolExecutor(len(stories))
        self._begun: dict[Name, Future[T]] = {}

    def __enter__(self) -> Self:
        for name in self._stories:
            self._begin(name)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()

    def told(self, name: Name) -> T:
        """What a story came to. One that failed is played anew for whoever asks again.

        Raises:
            Exception: what the story raised.
        """
        story = self._begun.get(name) or self._begin(name)
        try:
            return story.result()
        except Exception:
            del self._begun[name]
            raise

    def _begin(self, name: Name) -> Future[T]:
        self._begun[name] = self._threads.submit(self._stories[name])
        return self._begun[name]
