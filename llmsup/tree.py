"""The composition root: builds every part from the config, starts them in order, stops them in reverse.

    infra    the orphan guard, the memory monitor and the governor, the bridge scheduler   started first, stopped last
    └─ fleet   one supervisor per model, and the reconciler, which decides what models there are
       └─ edge   the web server                                 started last, stopped first

Nurseries don't order their shutdown, so the three are nested. This module imports every part; no part imports it.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from .bridge.scheduler import BridgeScheduler
from .catalog.library import HEADERS, Library
from .config.live import LiveConfig
from .config.schema import Config
from .engines.kinds import KINDS
from .engines.llama_server.flag_probe import FlagProbe
from .engines.llama_server.kind import installed
from .engines.missing import without_engine
from .engines.registry import Kinds
from .engines.selector import EngineSelector
from .fleet.config_file import ConfigFile
from .fleet.config_watch import ConfigWatch
from .fleet.engine.starter import Starter
from .fleet.fleet import Fleet
from .fleet.memory.costs import MeasuredCosts
from .fleet.memory.device_pools import DevicePools
from .fleet.memory.governor import Governor
from .fleet.pausing import Pausing
from .fleet.reconciler import Reconciler
from .fleet.rpc.admission import WithWorkers
from .fleet.rpc.placing import with_workers
from .fleet.rpc.reach import asks
from .fleet.rpc.workers import Workers
from .fleet.yielding import Yielding
from .gateway.access import RequestGuard
from .gateway.gateway import Gateway
from .gateway.hosts import is_loopback
from .gateway.places import Places
from .gateway.routes import Routes
from .history.recorder import History
from .memory.cost.store import FootprintStore
from .memory.machine.linux import Linux
from .memory.machine.monitor import MemoryMonitor
from .memory.machine.sampler import Sampler
from .peers.loops import check_via
from .peers.peers import Peers
from .peers.serving import Serving
from .process.awake import KeepAwake
from .process.inheritance import Inheritance
from .process.leftovers import Leftovers
from .process.logbook import LogBook
from .process.orphans import Orphans
from .process.ring import Events
from .process.sockets import SocketDirectory
from .process.watched import Watched
from .prompt_cache.cache import PromptCache
from .units import Bytes, Seconds, format_seconds
from .web.app import build_app
from .web.hypercorn_server import HypercornServer
from .web.lookout import Lookout
from .web.memory import decision_as_json
from .web.roads import Roads
from .web.server import STALLED, WebServer

log = logging.getLogger(__name__)

FOOTPRINTS = "footprints.json"
"""The file in `state_dir` with what models were measured to cost."""

PROMPTS = "prompt-cache"
"""The directory in `state_dir` with the conversations of models that are unloaded."""

FIRST_LOOK = Seconds(3)
"""How long requests wait for the first look at the disk; after that they are answered while it goes on."""

LAST_WORDS = Seconds(1)
"""How long connections have to finish once the requests are done or given up: log followers, keep-alive."""


class Tree(Watched):
    """A whole llmsup.

    Attributes:
        config: The config in force.
        sockets: Listening already, so that a port in use is found out before anything starts.
        book: Gets the engines' lines; the caller may write its own log there too.
        reread: Reads the config again; None if it can't change.
        config_file: The file that it reads, which is watched; None if there is none.
        token: A key that is always valid, for the commands of the user we run as; "" for none.
        stalled: Seconds after which a client that reads nothing is cut off.
        kinds: The kinds of engine that models may run on.
        routes: Which path belongs to which API.
        reconciler: Keeps the models in step with the config and the disk; None until it runs.
        serving: Has what peers offer served, too; there once it runs.
        prompts: The conversations that survive an unload; there once it runs.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        *,
        book: LogBook | None = None,
        reread: Callable[[], Config] | None = None,
        config_file: Path | None = None,
        token: str = "",
        stalled: Seconds = STALLED,
        kinds: Kinds = KINDS,
        routes: Routes | None = None,
    ) -> None:
        super().__init__()
        self.routes = routes or Routes()
        self.config = LiveConfig(config)
        self.sockets = sockets
        self.reread = reread or (lambda: config)
        self.config_file = config_file
        self.reconciler: Reconciler | None = None
        self.prompts: PromptCache
        self.serving: Serving
        self.book = book or LogBook(5000)
        self.token = token
        self.stalled = stalled
        self.kinds = kinds
        self._stops = 0

    def stop(self) -> None:
        """Begin the orderly end: requests get `shutdown_grace` to finish. A second call ends the grace."""
        self._stops += 1
        self.notify()

    def reload(self) -> None:
        """Reload the config and scan the disk; the result goes to the log."""
        if self.reconciler is not None:
            self.reconciler.reload_soon()

    async def run(self, *, task_status: trio.TaskStatus[Fleet] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`; started, with the fleet, when requests are answered.

        Raises:
            SetupError: The certificate can't be used.
        """
        try:
            await self._run(task_status)
        finally:
            for listener in self.sockets:
                listener.close()

    async def _run(self, task_status: trio.TaskStatus[Fleet]) -> None:
        sockets = SocketDirectory()
        inheritance = Inheritance(lambda: self.config.now.secret_variables)
        orphans = Orphans(sockets.path, inheritance)  # removes the directory at the very end, even if we are killed
        selector = EngineSelector(config=self.config, probe=FlagProbe(inheritance=inheritance), kinds=self.kinds)
        events, state_dir = Events(), self.config.now.server.state_dir
        pressure_file = Linux().pressure_file if sys.platform == "linux" else None
        sampler = Sampler(inheritance=inheritance)
        watch = MemoryMonitor(self.config, sampler, events, pressure_file=pressure_file)
        names = DevicePools(lambda: watch.reading, selector.devices)
        store = FootprintStore(state_dir / FOOTPRINTS)
        costs = MeasuredCosts(store, selector.build_id, selector.load_modes, names=names, sizes=watch.device_sizes)
        selector.device_sizes = watch.device_sizes
        governor = Governor(self.config, watch, costs, events, costs.warmth)
        prompts = self.prompts = PromptCache(self.config, state_dir / PROMPTS, events, self.kinds)
        workers = Workers(self.config, orphans, self.book, events, asks(partial(installed, selector), inheritance))
        governor.elsewhere, costs.with_workers = workers, partial(with_workers, workers)
        starter = Starter(selector, orphans, sockets, sampler.gpus.used_by, prompts, names, workers)
        fleet = Fleet(
            starter,
            WithWorkers(governor, workers),
            max_queue=lambda: self.config.now.server.max_queue,
            book=self.book,
            events=events,
            kinds=self.kinds,
        )
        selector.several = lambda: len(fleet.models) > 1
        gateway = Gateway(fleet, self.config, self._guard(), self.routes)
        reconciler = self.reconciler = Reconciler(
            self.config,
            fleet,
            Library(state_dir / HEADERS),
            ConfigFile(self.config, self.reread, events, self.config_file),
            engines=self.kinds,
            without_engine=partial(without_engine, selector),
        )
        gateway.rescan = reconciler.rescan
        config_watch = ConfigWatch(self.config, reconciler.file, reconciler.reload_changed)
        gateway.ceiling = lambda: Bytes(governor.machine().ceiling)
        bridge = BridgeScheduler(self.config, orphans, rescan=reconciler.rescan, announce=events.write)
        pausing = Pausing(fleet)
        awake = KeepAwake(
            orphans,
            wanted=lambda: self.config.now.server.keep_awake,
            busy=lambda: fleet.at_work or serving.busy,
            announced=(self.config, gateway.activity, events),
        )
        peers = Peers(self.config, fleet, events)
        serving = self.serving = Serving(peers, fleet, governor, self.config, events)
        gateway.check_via = partial(check_via, peers)
        gateway.places = lambda: Places(peers.all.values(), fleet)
        past = History(self.config, state_dir, fleet, governor, gateway.activity, decision_as_json)
        app = build_app(gateway, fleet, reconciler, governor, bridge, prompts, pausing, past, peers, workers)
        roads = Roads(gateway, HypercornServer(app), lambda: gateway.server.fast, Lookout(), self.routes)
        server = self.config.now.server
        web = WebServer(roads, self.sockets, certfile=server.certfile, keyfile=server.keyfile, stalled=self.stalled)
        async with trio.open_nursery() as infra:
            await infra.start(Leftovers(state_dir, inheritance, sockets.path).run)
            await infra.start(orphans.run)
            await infra.start(sockets.run)
            await infra.start(watch.run)
            await infra.start(costs.run)
            await infra.start(governor.run)
            await infra.start(workers.run)
            await infra.start(past.run)
            await infra.start(bridge.run)
            await infra.start(prompts.run)
            await infra.start(awake.run)
            if sys.platform == "darwin" and (command := installed(selector)):
                infra.start_soon(watch.learn_working_set, command)
            async with trio.open_nursery() as models:
                await models.start(fleet.run)
                await models.start(pausing.run)
                await models.start(Yielding(self.config, pausing).run)
                await models.start(reconciler.run)
                await models.start(config_watch.run)
                await models.start(peers.run)
                await models.start(serving.run)
                with trio.move_on_after(FIRST_LOOK):  # so that early requests find the models, if that is quick
                    await reconciler.until(lambda: reconciler.usable)
                async with trio.open_nursery() as edge:
                    await edge.start(web.run)
                    task_status.started(fleet)
                    await self.until(lambda: self._stops)
                    await self._wind_down(fleet, gateway, web)
                models.cancel_scope.cancel()
            infra.cancel_scope.cancel()

    def _guard(self) -> RequestGuard:
        loopback = all(is_loopback(s.getsockname()[0]) for s in self.sockets)
        return RequestGuard(self.config, loopback, self.token)

    async def _wind_down(self, fleet: Fleet, gateway: Gateway, web: WebServer) -> None:
        fleet.close()  # new requests are refused; those already accepted may finish
        self.notify()
        grace = self.config.now.server.shutdown_grace
        if gateway.active:
            log.info("stopping: %d requests have %s to finish", gateway.active, format_seconds(grace))
        async with trio.open_nursery() as nursery:

            async def hurry() -> None:
                await self.until(lambda: self._stops > 1)
                nursery.cancel_scope.cancel()

            nursery.start_soon(hurry)
            with trio.move_on_after(grace):
                await gateway.until(lambda: not gateway.active)
            await fleet.prepare_to_stop()
            nursery.cancel_scope.cancel()
        if self.reconciler is not None:
            self.reconciler.give_up()
        fleet.give_up()  # remaining requests get an error while there still is a web server to send it
        fleet.close_books()
        await web.stop(LAST_WORDS)
