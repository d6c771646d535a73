"""Checks between the keys of [rpc.NAME] tables, and of the models that name them.

An RPC worker asks nobody for a key, and whoever reaches it can read and write its memory: it must not be reachable from
another machine except through ssh.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from .checks import check_name, parse_listen
from .schema import ModelSpec, RpcSpec
from .tables import Read
from .wording import Place, did_you_mean

Mistakes = Iterator[tuple[str, Place]]

TUNNEL = 'an RPC worker has no authentication: leave it on 127.0.0.1 there, and set ssh = "USER@HOST"'
"""The remedy for one that is reached over a network."""

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_TAKING = re.compile(r"[BbcDEeFIiJLlmOoPpQRSWw]")
"""The letters of ssh's options that take a word."""

_TARGET = re.compile(r"(ssh://)?([\w.+\\][\w.+\\-]*@)?(\w[\w.:%-]*|\[[0-9A-Fa-f:.]+(%\w+)?\](:\d+)?)")
"""A machine as ssh takes it. Nothing in it can be an option or a shell's: its config may hand it to one."""

_HOST_FLAGS = ("-H", "--host")


def check(workers: Mapping[str, Read[RpcSpec]], models: Mapping[str, Read[ModelSpec]]) -> Mistakes:
    """Find every mistake between keys."""
    seen: dict[tuple[object, ...], str] = {}
    for name, worker in workers.items():
        yield from _worker(name, worker)
        if (spec := worker.value).url and (other := seen.setdefault(_where(spec), name)) != name:
            what = f"[rpc.{other}] is the same worker (which serves one engine at a time): leave one of the two out"
            yield what, ("rpc", name, "url")
    for name, model in models.items():
        place = ("models", name, "rpc")
        for each in dict.fromkeys(model.value.rpc):
            if each not in workers:
                yield f"no RPC worker is called {each!r}{did_you_mean(each, workers) or _there_are(workers)}", place
        if model.value.rpc and model.value.command:
            yield "a model with its own 'command' is told of no workers: leave one of the two out", place
        if model.value.rpc and model.value.devices:
            what = "'devices' would keep the engine from its workers: leave it out, and hide devices by 'env' "
            yield f'{what}({{ CUDA_VISIBLE_DEVICES = "0" }})', ("models", name, "devices")
        if model.value.rpc and (flag := next((each for each in model.value.args if _is_device(each)), "")):
            what = f"{flag!r} would keep the engine from its workers: leave it out, and hide devices by 'env' "
            yield f'{what}({{ CUDA_VISIBLE_DEVICES = "0" }})', ("models", name, "args")
        if len(set(model.value.rpc)) < len(model.value.rpc):
            yield "it names a worker twice", place


def _where(spec: RpcSpec) -> tuple[object, ...]:
    """Where a worker with a 'url' is: the same for two that are one."""
    host, port = parse_listen(spec.url)
    with suppress(ValueError):
        host = str(ipaddress.ip_address("127.0.0.1" if host.casefold() == "localhost" else host))
    return spec.ssh, host.casefold(), port


def _there_are(workers: Mapping[str, object]) -> str:
    return f" (there are: {', '.join(workers)})" if workers else ": add [rpc.NAME]"


def _worker(name: str, worker: Read[RpcSpec]) -> Mistakes:
    place, spec = ("rpc", name), worker.value
    try:
        check_name(name)
    except ValueError as error:
        yield str(error), place
    if spec.url and spec.command:
        yield "both 'url' and 'command' are set: keep 'url' for a worker that runs anyway, else 'command'", place
    if not (spec.url or spec.command or {"url", "command"} & worker.bad):
        yield "a worker needs 'command', to start it, or 'url', the HOST:PORT of one that runs anyway", place
    if problem := beyond_loopback(spec):
        yield problem, (*place, "url" if spec.url else "command")
    if spec.command:
        yield from _command(spec.command, (*place, "command"))
    if worker.has("ssh"):
        yield from _ssh(spec.ssh, (*place, "ssh"))


def _ssh(words: Sequence[str], place: Place) -> Mistakes:
    """What follows `ssh`: options, then a machine, and nothing that ssh would take for a command there."""
    rest = iter(words)
    target = next((word for word in rest if not _option(word, rest)), "")
    more = list(rest)
    if not target:
        yield 'its last word must be the machine to connect to: "me@box"', place
    elif more:
        what = f"its last word must be the machine to connect to, but {' '.join(more)!r} follows {target!r}"
        yield f"{what}: options come before it, and what is run there is 'command'", place
    elif not _TARGET.fullmatch(target):
        yield f'{target!r} is not a machine\'s name for ssh: write "me@box", and options as words before it', place


def _option(word: str, rest: Iterator[str]) -> bool:
    """Whether a word is an option of ssh's; the word that belongs to it is taken from `rest`, too."""
    if not word.startswith("-"):
        return False
    if (taking := _TAKING.search(word[1:])) and taking.end() == len(word) - 1:  # "-4p" "2222", but not "-p2222"
        next(rest, None)
    return True


def _is_device(word: str) -> bool:
    return word.partition("=")[0] in ("-dev", "--device")


def home_of_another(name: str, table: object) -> Mistakes:
    """In a table as it was read: a `~/` for the other machine, which would be this one's home."""
    if isinstance(table, Mapping) and table.get("ssh"):
        command = table.get("command")
        words = command.split() if isinstance(command, str) else command if isinstance(command, list) else ()
        if any(isinstance(word, str) and word.lstrip("\"'").startswith("~/") for word in words):
            what = "'~/' would be this machine's home, and the command is run on another: write the path in full"
            yield what, ("rpc", name, "command")


def _command(command: Sequence[str], place: Place) -> Mistakes:
    used = dict.fromkeys(name for word in command for name in _PLACEHOLDER.findall(word))
    for name in used:
        if name != "PORT":
            yield f"unknown placeholder '${{{name}}}' (there is only ${{PORT}}, and ${{env:NAME}})", place
    if "PORT" not in used:
        yield "the command doesn't use ${PORT}, so llmsup can't tell the worker where to listen", place


def beyond_loopback(spec: RpcSpec) -> str:
    """Say why a worker could be reached from elsewhere, with the remedy; "" if it couldn't, as far as its table tells.

    Through ssh as well it has to listen on its own machine's loopback only.
    """
    if spec.url and not is_loopback(parse_listen(spec.url)[0]):
        return f"{spec.url!r} is not on this machine's loopback; {TUNNEL}"
    for host in _hosts(spec.command):
        if not is_loopback(host):
            return f"the worker would listen on {host!r}, where anybody could use it: write -H 127.0.0.1"
    return ""


def _hosts(command: Sequence[str]) -> Iterator[str]:
    for word, after in pairwise((*command, "")):
        flag, equals, value = word.partition("=")
        if flag in _HOST_FLAGS:
            yield value if equals else after


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, by its text."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
