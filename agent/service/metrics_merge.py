"""One metrics page out of those of several workers, told apart by a `worker` label.

Nothing is added up here: sums over workers are Prometheus's business (`sum without (worker)`), and
a worker's counters that begin anew after its death are what `rate` expects of a process.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "worker"


def merge_pages(pages: Mapping[str, bytes]) -> bytes:
    """Pages in the Prometheus text format, by worker, as one page.

    Raises:
        ValueError: a page is not in that format.
    """
    families: dict[str, Metric] = {}
    for worker, page in pages.items():
        for family in text_string_to_metric_families(page.decode()):
            merged = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, LABEL: worker}
                merged.add_sample(sample.name, labels, sample.value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families.values()))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
