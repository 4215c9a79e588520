"""The pages of a supervisor: its workers' health in one, their metrics in one."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from callerside.agent.service.http import JSON, PROMETHEUS, FetchError, Page, Pages, fetch_unix
from callerside.agent.service.supervisor import WorkerPool

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


PAGE_TIMEOUT_S = 2.0


def supervisor_pages(pool: WorkerPool) -> Pages:
    """`/healthz`, `/readyz` and `/metrics` for all workers of a pool."""

    async def healthz() -> Page:
        return _json(HTTPStatus.OK, pool, await _workers_status(pool))

    async def readyz() -> Page:
        status = await _workers_status(pool)
        ready = any(one.get("reachable") for one in status.values())
        open_for_calls = ready and not pool.policy.stopping
        return _json(
            HTTPStatus.OK if open_for_calls else HTTPStatus.SERVICE_UNAVAILABLE, pool, status
        )

    async def metrics() -> Page:
        return Page(content_type=PROMETHEUS, body=own_metrics(pool) + await _workers_metrics(pool))

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def own_metrics(pool: WorkerPool) -> bytes:
    """What the supervisor knows of its workers, as a page."""
    return generate_latest(own_registry(pool))


def own_registry(pool: WorkerPool) -> CollectorRegistry:
    """What the supervisor knows of its workers."""
    registry = CollectorRegistry()
    up = Gauge(
        "callerside_worker_up", "1 if it takes calls (supervisor).", ["worker"], registry=registry
    )
    restarts = Counter(
        "callerside_worker_restarts",
        "Starts after the first (supervisor).",
        ["worker"],
        registry=registry,
    )
    for worker in pool.policy.workers:
        up.labels(str(worker.index)).set(worker.state == "ready")
        restarts.labels(str(worker.index)).inc(worker.restarts)
    return registry


async def _workers_metrics(pool: WorkerPool) -> bytes:
    """A worker that does not answer in time is missing from the page, and only that one."""
    pages = await _workers_pages(pool, "/metrics")
    return merge_pages({str(index): page for index, page in pages.items()})


async def _workers_status(pool: WorkerPool) -> dict[int, dict[str, Any]]:
    """What each worker that is ready says of itself at its `/healthz`."""
    pages = await _workers_pages(pool, "/healthz")
    return {index: json.loads(page) for index, page in pages.items()}


async def _workers_pages(pool: WorkerPool, path: str) -> dict[int, bytes]:
    ready = [worker.index for worker in pool.policy.workers if worker.state == "ready"]
    answers = await asyncio.gather(*(_page_of(pool, index, path) for index in ready))
    pages = zip(ready, answers, strict=True)
    return {index: page for index, page in pages if page is not None}


async def _page_of(pool: WorkerPool, index: int, path: str) -> bytes | None:
    try:
        page = await fetch_unix(pool.socket(index), path, timeout_s=PAGE_TIMEOUT_S)
    except FetchError:
        return None
    return page.body if page.status == HTTPStatus.OK else None


def _json(status: HTTPStatus, pool: WorkerPool, workers: Mapping[int, Mapping[str, Any]]) -> Page:
    known = {worker.index: workers.get(worker.index, {}) for worker in pool.policy.workers}
    data = {
        "calls": sum(one.get("calls", 0) for one in known.values()),
        "stopping": pool.policy.stopping,
        "workers": [
            {
                "worker": worker.index,
                "pid": pool.pid(worker.index),
                "state": worker.state,
                "address": worker.address,
                "restarts": worker.restarts,
                "calls": known[worker.index].get("calls"),
                "reachable": known[worker.index].get("reachable"),
            }
            for worker in pool.policy.workers
        ],
    }
    return Page(status=status, content_type=JSON, body=json.dumps(data).encode() + b"\n")
