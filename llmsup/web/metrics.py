"""`GET /metrics`: counters and gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quart import Blueprint, Response

from ..fleet.fleet import Fleet
from ..fleet.memory.governor import Governor
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..fleet.rpc.workers import Workers
from ..gateway.usage import Usage
from ..memory.amounts import add_up
from ..peers.peer import PeerState
from ..peers.peers import Peers
from ..prompt_cache.cache import PromptCache
from .devices import devices

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_LEVELS = ("normal", "warn", "critical")


def metrics(
    fleet: Fleet, governor: Governor, usage: Usage, prompts: PromptCache, peers: Peers, workers: Workers
) -> Blueprint:
    """The route /metrics. It has the models that were asked for since llmsup started, not the hundreds that may be."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def all_of_them() -> Response:
        from prometheus_client import (
            CONTENT_TYPE_LATEST,
            CollectorRegistry,
            generate_latest,
        )  # takes 80 ms, so only when needed

        registry = CollectorRegistry()
        registry.register(_Now(fleet, governor, usage, prompts, peers, workers))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return routes


class _Now:
    """Prometheus' collector; it reads everything at the moment of a scrape."""

    def __init__(
        self, fleet: Fleet, governor: Governor, usage: Usage, prompts: PromptCache, peers: Peers, workers: Workers
    ) -> None:
        self._peers = peers
        self._workers = workers
        self._prompts = prompts
        self._usage = usage
        self._fleet = fleet
        self._governor = governor

    def collect(self) -> Iterable[Metric]:
        yield from _of_models([model for model in self._fleet.models.values() if _known(model)], self._governor)
        yield _paused(self._fleet)
        yield from _of_memory(self._governor)
        yield from _of_devices(self._governor)
        yield from _of_keys(self._usage)
        yield from _of_prompts(self._prompts)
        yield from _of_peers(self._peers)
        yield _of_workers(self._workers)


def _known(model: Model) -> bool:
    return model.run is not None or bool(model.history.waits or model.history.entries)


def _of_models(models: list[Model], governor: Governor) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

    by_model = ("model",)
    loaded = GaugeMetricFamily("llmsup_model_loaded", "1 while its engine answers.", labels=by_model)
    asleep = GaugeMetricFamily("llmsup_model_asleep", "1 while its engine sleeps.", labels=by_model)
    in_flight = GaugeMetricFamily("llmsup_model_in_flight", "Requests that it works on.", labels=by_model)
    waiting = GaugeMetricFamily("llmsup_model_waiting", "Requests that wait for it.", labels=by_model)
    footprint = GaugeMetricFamily("llmsup_model_footprint_bytes", "What it counts for in memory.", labels=by_model)
    loads = CounterMetricFamily("llmsup_model_loads", "How often it was loaded.", labels=by_model)
    unloads = CounterMetricFamily("llmsup_model_unloads", "How often it went.", labels=("model", "reason"))
    refaults = CounterMetricFamily("llmsup_model_refaults", "Wanted again soon after an eviction.", labels=by_model)
    waited = SummaryMetricFamily("llmsup_model_wait_seconds", "How long requests waited for it.", labels=by_model)
    speed = GaugeMetricFamily(
        "llmsup_model_load_bytes_per_second", "How fast its last load was.", labels=("model", "mode")
    )
    cached = GaugeMetricFamily(
        "llmsup_model_load_cached_ratio", "What of its file was in the page cache before that.", labels=by_model
    )
    for model in models:
        name, history, size = [model.spec.name], model.history, governor.footprint(model)
        loaded.add_metric(name, float(model.state in (State.READY, State.DRAINING)))
        asleep.add_metric(name, float(model.state is State.SLEEPING))
        in_flight.add_metric(name, model.queue.in_flight)
        waiting.add_metric(name, model.queue.waiting)
        footprint.add_metric(name, 0 if size is None else size.bytes)
        loads.add_metric(name, history.loads)
        if (last := model.last_load) is not None:
            speed.add_metric([*name, last.mode], last.load.rate)
            if last.load.cached is not None:
                cached.add_metric(name, last.load.cached)
        for cause, count in history.unloads.items():
            unloads.add_metric([*name, str(cause)], count)
        refaults.add_metric(name, history.refaults)
        waited.add_metric(name, history.waits, history.waited)
    return [loaded, asleep, in_flight, waiting, footprint, loads, unloads, refaults, waited, speed, cached]


def _paused(fleet: Fleet) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily("llmsup_paused", "1 while no model is served.", float(fleet.paused is not None))


def _of_memory(governor: Governor) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    machine, loaded_models = governor.machine(), governor.loaded_models()
    committed = add_up(each.cost for each in loaded_models).here
    if machine.host.available is not None:
        yield GaugeMetricFamily(
            "llmsup_memory_available_bytes", "What could be had without swapping.", machine.host.available
        )
    yield GaugeMetricFamily("llmsup_memory_ceiling_bytes", "What all models together may have.", machine.ceiling)
    yield GaugeMetricFamily("llmsup_memory_committed_bytes", "What all models together count for.", committed)
    level = _LEVELS.index(machine.level)
    yield GaugeMetricFamily("llmsup_memory_pressure_level", "0 normal, 1 warn, 2 critical.", level)
    yield GaugeMetricFamily("llmsup_memory_waiting_loads", "Loads that wait for memory.", len(governor.asks))


def _of_devices(governor: Governor) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ("device", "name")
    total = GaugeMetricFamily("llmsup_device_total_bytes", "The size of its own memory.", labels=labels)
    free = GaugeMetricFamily("llmsup_device_free_bytes", "What is free there.", labels=labels)
    committed = GaugeMetricFamily("llmsup_device_committed_bytes", "What models count for there.", labels=labels)
    short = GaugeMetricFamily("llmsup_device_short", "1 while other programs press for it.", labels=labels)
    for each in devices(governor):
        names = [each.pool, each.name]
        total.add_metric(names, each.total)
        committed.add_metric(names, each.committed)
        short.add_metric(names, float(each.gauge.short))
        if each.free is not None:
            free.add_metric(names, each.free)
    return [total, free, committed, short]


def _of_keys(usage: Usage) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    by_key = ("key",)
    requests = CounterMetricFamily("llmsup_key_requests", "Requests for models with this key.", labels=by_key)
    refused = CounterMetricFamily("llmsup_key_refused", "Requests refused for its limits.", labels=by_key)
    tokens_in = CounterMetricFamily("llmsup_key_tokens_in", "Tokens of prompts, as engines report them.", labels=by_key)
    tokens_out = CounterMetricFamily(
        "llmsup_key_tokens_out", "Tokens of answers, as engines report them.", labels=by_key
    )
    unreported = CounterMetricFamily(
        "llmsup_key_requests_without_tokens", "Answers that report no tokens.", labels=by_key
    )
    seconds = CounterMetricFamily("llmsup_key_seconds", "Time of its requests, waiting included.", labels=by_key)
    in_flight = GaugeMetricFamily("llmsup_key_in_flight", "Its requests in progress.", labels=by_key)
    for name, tally in usage:
        requests.add_metric([name], tally.requests)
        refused.add_metric([name], tally.refused)
        tokens_in.add_metric([name], tally.tokens_in)
        tokens_out.add_metric([name], tally.tokens_out)
        unreported.add_metric([name], tally.unreported)
        seconds.add_metric([name], tally.seconds)
        in_flight.add_metric([name], tally.in_flight)
    return [requests, refused, tokens_in, tokens_out, unreported, seconds, in_flight]


def _of_workers(workers: Workers) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    up = GaugeMetricFamily("llmsup_rpc_up", "1 while an RPC worker answers.", labels=("worker",))
    for each in workers.all.values():
        up.add_metric([each.name], float(each.state == "up"))
    return up


def _of_prompts(prompts: PromptCache) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    store, by_model = prompts.store, ("model",)
    yield GaugeMetricFamily("llmsup_prompt_cache_bytes", "What saved conversations take on the disk.", store.bytes)
    yield GaugeMetricFamily("llmsup_prompt_cache_entries", "How many there are.", len(store.entries))
    yield GaugeMetricFamily("llmsup_prompt_cache_written_today_bytes", "What was written today (UTC).", store.written)
    hits = CounterMetricFamily("llmsup_prompt_cache_hits", "Restored conversations that went on.", labels=by_model)
    misses = CounterMetricFamily("llmsup_prompt_cache_misses", "Restored, and computed anew.", labels=by_model)
    tokens = CounterMetricFamily("llmsup_prompt_cache_tokens_saved", "Not computed again.", labels=by_model)
    seconds = CounterMetricFamily("llmsup_prompt_cache_seconds_saved", "What that saved, about.", labels=by_model)
    for name, tally in sorted(prompts.tallies.items()):
        hits.add_metric([name], tally.hits)
        misses.add_metric([name], tally.misses)
        tokens.add_metric([name], tally.tokens)
        seconds.add_metric([name], tally.seconds)
    yield from (hits, misses, tokens, seconds)


def _of_peers(peers: Peers) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    by_peer = ("peer",)
    up = GaugeMetricFamily("llmsup_peer_up", "1 while it answers.", labels=by_peer)
    requests = CounterMetricFamily("llmsup_peer_requests", "Requests that were sent there.", labels=by_peer)
    failures = CounterMetricFamily("llmsup_peer_failures", "Those of them that it failed.", labels=by_peer)
    in_flight = GaugeMetricFamily("llmsup_peer_in_flight", "Those in progress.", labels=by_peer)
    latency = GaugeMetricFamily("llmsup_peer_latency_seconds", "What its last answer to a probe took.", labels=by_peer)
    models = GaugeMetricFamily("llmsup_peer_models", "Models that it has for us.", labels=by_peer)
    for peer in peers.all.values():
        name = [peer.name]
        up.add_metric(name, float(peer.state is PeerState.UP))
        requests.add_metric(name, peer.requests)
        failures.add_metric(name, peer.failed)
        in_flight.add_metric(name, peer.in_flight)
        if peer.latency is not None:
            latency.add_metric(name, peer.latency)
        models.add_metric(name, len(peer.offers))
    return [up, requests, failures, in_flight, latency, models]
