"""Devices as pools, for real: two models on one NVIDIA card that has room for one, and a neighbour that wants it.

    .venv/bin/python tools/gpu_check.py [--llama-server PATH] [--model FILE.gguf]

For a machine with an NVIDIA card, `nvidia-ml-py`, and a llama-server built for CUDA or Vulkan; two to five minutes. The
demo model will do: its context is made so long that its cache takes 60 % of what is free. Each step says what was
expected and what was seen; the exit code is 1 if any differs, and 2 if there is no such card or engine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from llmsup.catalog.found import Found
from llmsup.catalog.gguf.reader import read_header
from llmsup.catalog.gguf.summary import summarise
from llmsup.cli import demo_model
from llmsup.config.schema import ModelSpec
from llmsup.engines.devices import Device, list_devices
from llmsup.memory.cost.estimate import estimate
from llmsup.memory.cost.placement import DRIVER, Room, place
from llmsup.memory.machine.device_gauge import LOW, LOW_SHARE
from llmsup.memory.machine.device_names import pools_by_name
from llmsup.memory.machine.nvidia import open_nvml
from llmsup.memory.machine.reading import Gpu
from llmsup.units import format_bytes

SHARE = 0.6
ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
PATIENCE = 120.0


class Check:
    """The steps, and whether all were as expected."""

    def __init__(self, port: int) -> None:
        self.fine = True
        self._port = port

    def tell(self, what: str, good: bool, seen: object) -> None:
        """One step."""
        print(f"{'ok  ' if good else 'FAIL'}  {what}: {seen}", flush=True)
        self.fine = self.fine and good

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request."""
        data = None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        with closing(connection):
            connection.request("GET" if data is None else "POST", path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise OSError(f"{path} answered {answer.status}: {content.decode(errors='replace')}")
        return json.loads(content)

    def chat(self, model: str) -> None:
        """A short answer of a model."""
        messages = [{"role": "user", "content": "Say hello."}]
        self.ask("/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": 8})

    @property
    def loaded(self) -> list[str]:
        """The models that are."""
        return sorted(each["model"] for each in self.ask("/running") if each["state"] == "ready")

    def until(self, true: Callable[[], bool]) -> bool:
        """Whether it becomes true in time."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if true():
                return True
            time.sleep(0.5)
        return False


def tokens_for(model: Path, size: int) -> int:
    """The context with which a model takes about so many bytes."""
    found = Found(id="m", path=model, files=(), facts=summarise(read_header(model), model.stat().st_size))

    def takes(tokens: int) -> int:
        said = estimate(ModelSpec(name="m", path=str(model), ctx_size=tokens, parallel=1), found)
        assert said is not None
        assert said.layout is not None
        placed = place(said.layout, [Room("card", 2**50, 2**50, DRIVER)], said.context.offload)
        return placed["card"]

    tokens = 256
    while takes(tokens * 2) < size:
        tokens *= 2
    step = tokens
    while step > 256:
        step //= 2
        if takes(tokens + step) < size:
            tokens += step
    return tokens // 256 * 256


def config_for(folder: Path, server: str, model: Path, device: str, tokens: int, port: int) -> Path:
    """Two large models for the card, and a small one for the CPU."""
    large = f'path = "{model}"\nengine = "llama-server"\nparallel = 1\nctx_size = {tokens}\ndevices = ["{device}"]\n'
    small = f'path = "{model}"\nengine = "llama-server"\nparallel = 1\nctx_size = 512\ndevices = ["none"]\n'
    file = folder / "llmsup.toml"
    file.write_text(
        f'[server]\nlisten = "127.0.0.1:{port}"\nstate_dir = "{folder}/state"\n'
        '[catalog]\nroots = []\nollama = ""\nserve_all = false\n[bridge]\nevery = "never"\n[prompt_cache]\ndisk = 0\n'
        f'[engines.llama-server]\ncommand = "{server}"\n'
        f"[models.a]\n{large}[models.b]\n{large}[models.small]\n{small}"
    )
    return file


def steps(check: Check, pool: str, neighbours: Callable[[], AbstractContextManager[object]]) -> None:
    """What is to be seen."""
    card = next((each for each in check.ask("/memory")["devices"] if each["pool"] == pool), None)
    check.tell("the card is a pool", card is not None, card)

    check.chat("a")
    needed = next(each for each in check.ask("/memory")["decisions"] if each["model"] == "a")["bytes"]
    measured = check.until(lambda: check.ask("/memory")["models"][0]["footprint_source"] == "measured")
    (a,) = check.ask("/memory")["models"]
    took = a["devices"].get(pool, 0)
    good = measured and 0.8 < needed / max(took, 1) < 1.3
    seen = f"{format_bytes(needed)} expected, {format_bytes(took)} measured on {pool}"
    check.tell("its first load was admitted by an estimate near what it takes", good, seen)

    check.chat("small")
    check.tell("one for the CPU loads beside it", check.loaded == ["a", "small"], check.loaded)

    check.chat("b")
    evict = [each for each in check.ask("/memory")["decisions"] if each["decision"] == "evict"]
    check.tell("the second makes the first go, and only that", check.loaded == ["b", "small"], check.loaded)
    check.tell("the decision says where it was short", bool(evict) and pool in evict[-1]["reason"], evict[-1:])

    free = next(each for each in check.ask("/memory")["devices"] if each["pool"] == pool)["free_bytes"]
    check.chat("a")
    again = next(each for each in check.ask("/memory")["devices"] if each["pool"] == pool)["free_bytes"]
    check.tell("the memory came back before the next took it", abs(free - again) < 2**29, (free, again))

    with neighbours():
        gone = check.until(lambda: "a" not in check.loaded)
        check.tell("a neighbour that wants the card gets it: the idle model goes", gone, check.loaded)
        check.tell("and not the one elsewhere", "small" in check.loaded, check.loaded)
    eased = check.until(lambda: all(each["level"] == "normal" for each in check.ask("/memory")["devices"]))
    check.tell("afterwards the card is not short", eased, check.ask("/memory")["devices"])


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", default=shutil.which("llama-server") or "")
    parser.add_argument("--model", type=Path)
    words = parser.parse_args()
    nvml = open_nvml()
    gpus: tuple[Gpu, ...] = nvml.gpus() if nvml else ()
    server = words.llama_server
    if not server or nvml is None or not any(gpu.own for gpu in gpus):
        print("This needs an NVIDIA card with its own memory, nvidia-ml-py and a llama-server: nothing was checked.")
        return 2
    env = {**os.environ, **ORDER}
    listed: tuple[Device, ...] = trio.run(partial(list_devices, (server,), env=ORDER))
    names = pools_by_name(listed, gpus, env)
    print("devices:", *map(str, listed), "pools:", names)
    if not names:
        print("This llama-server finds none of the cards: nothing was checked.")
        return 2
    device, pool = next(iter(names.items()))
    at = int(pool.removeprefix("gpu"))
    gpu = gpus[at]
    model = words.model or demo_model.fetch(demo_model.DIRECTORY.expanduser())
    tokens = tokens_for(model, int((gpu.free or 0) * SHARE))
    print(f"{tokens} tokens of context, so that one model takes {SHARE:.0%} of {format_bytes(gpu.free or 0)}.")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        file = config_for(Path(folder), server, model, device, tokens, port)

        @contextmanager
        def neighbours() -> Iterator[None]:
            """Other programs that use the card until little is left, as many as that takes."""
            low = int(min(LOW, (gpu.total or 0) * LOW_SHARE))
            with ExitStack() as stack:
                for number in range(5):
                    free = nvml.gpus()[at].free or 0
                    if free < low:
                        break
                    tokens = tokens_for(model, free - low // 2)
                    words = ["-m", str(model), "--host", f"{folder}/{number}.sock", "-np", "1", "-c", str(tokens)]
                    command = [server, *words, "-ngl", "99", "-dev", device]
                    process = stack.enter_context(subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL))
                    stack.callback(process.terminate)
                    time.sleep(10)
                yield

        with subprocess.Popen([sys.executable, "-m", "llmsup", "serve", "--config", str(file)]) as serve:
            check = Check(port)

            def answers() -> bool:
                try:
                    return bool(check.ask("/health"))
                except OSError:
                    return False

            try:
                check.tell("it starts", check.until(answers), file)
                steps(check, pool, neighbours)
            finally:
                serve.terminate()
        return 0 if check.fine else 1


if __name__ == "__main__":
    sys.exit(main())
