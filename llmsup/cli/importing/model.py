"""One model of llama-swap's file as its [models.NAME] table.

What the models of a file share comes in a `Setting`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, frozen

from ...config.write import Table
from ...engines.llama_server import NAME as LLAMA_SERVER
from . import command, filters
from .command import Flags
from .macros import expand_all
from .macros import read as read_macros
from .values import duration, seconds_in, text

_DOCKER = ("docker", "podman", "nerdctl")
_LOCAL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]):(\$\{PORT\}|\d+)(/.*)?")

_NO_COUNTERPART = {
    "metadata": "llmsup's lists show what it reads from the model's file",
    "capabilities": "llmsup reads them from the model's file",
    "sendLoadingState": "a stream that waits for its model gets SSE comments; see [server] loading_comments",
    "timeouts": "llmsup waits for an answer as long as its client does; see start_timeout and queue_timeout",
    "compat": "llmsup has no such switch",
}
_KNOWN = (
    *("cmd", "macros", "proxy", "cmdStop", "checkEndpoint", "ttl", "unloadTimeout", "healthCheckTimeout", "aliases"),
    *("name", "description", "unlisted", "env", "useModelName", "filters", "concurrencyLimit"),
)


@frozen(kw_only=True)
class Setting:
    """What the rest of the file says that affects a model.

    Attributes:
        macros: The file's macros.
        program: The llama-server that [engines.llama-server] will name; models with another one keep their command.
        preload: Whether to load the model at the start.
        persistent: Whether it is in a group whose members are never evicted.
        never_idle: Whether a model without a `ttl` is never unloaded for being idle.
        free: Whether a model can have a name as its alias; calling it claims the name.
    """

    macros: Mapping[str, str]
    program: str
    preload: bool
    persistent: bool
    never_idle: bool
    free: Callable[[str, str], bool]


@define
class ImportedModel:
    """One model, converted.

    Attributes:
        tables: Its own table and those below it.
        notes: What was left out or changed, each with its key: "cmdStop: ...".
        problem: Why it can't be served without further changes, a clause; "" if it can.
    """

    tables: list[Table] = Factory(list)
    notes: list[str] = Factory(list)
    problem: str = ""


def words_of(name: str, raw: Mapping[str, Any], macros: Mapping[str, str]) -> tuple[str, ...]:
    """A model's command, its macros expanded.

    Raises:
        ValueError: It has no command, or one that can't be read; the message is a clause.
    """
    cmd = raw.get("cmd")
    if isinstance(cmd, list):
        cmd = "\n".join(map(text, cmd))
    if not isinstance(cmd, str) or not cmd.strip():
        raise ValueError("it has no cmd")
    try:
        words = command.split(expand_all(cmd, {**macros, **read_macros(raw.get("macros"))}, name))
    except ValueError as error:
        raise ValueError(f"its cmd can't be read: {error}") from None
    if not words:
        raise ValueError("its cmd is only comments")
    return words


def convert(name: str, raw: Mapping[str, Any], words: tuple[str, ...] | str, setting: Setting) -> ImportedModel:
    """Convert one model; `words` is its command, or why it has none."""
    return _Conversion(name, raw, setting).run(words)


class _Conversion:
    def __init__(self, name: str, raw: Mapping[str, Any], setting: Setting) -> None:
        self.name = name
        self.setting = setting
        self.macros = {**setting.macros, **read_macros(raw.get("macros"))}
        self.given = raw
        self.raw: dict[str, Any] = {}
        self.table = Table(("models", name))
        self.below: list[Table] = []
        self.result = ImportedModel()

    def run(self, words: tuple[str, ...] | str) -> ImportedModel:
        self._expand()
        flags = Flags()
        if isinstance(words, str):
            self._problem(words)
        else:
            flags = self._start(words)
        self._called(flags)
        self._idle()
        self._limits()
        for key, value in flags.keys.items():
            self.table.put(key, value)
        if flags.args:
            self.table.put("args", flags.args)
        self._env()
        self._other_keys()
        if flags.sampling:
            sampling = Table((*self.table.name, "sampling"))
            for key, value in flags.sampling.items():
                sampling.put(key, value)
            self.below.insert(0, sampling)
        self.below += filters.convert(self.table.name, self.raw.get("filters"), self._note)
        self.result.tables = [self.table, *self.below]
        return self.result

    # -- notes

    def _note(self, key: str, what: str) -> None:
        """Report what was not taken over, both in the model's table and in the list."""
        self.table.say(f"{key}: {what}.")
        self.result.notes.append(f"{key}: {what}.")

    def _problem(self, what: str) -> None:
        self.result.problem = self.result.problem or what

    def _expand(self) -> None:
        for key, value in self.given.items():
            try:
                self.raw[key] = value if key in ("cmd", "macros") else expand_all(value, self.macros, self.name)
            except ValueError as error:
                self._note(key, f"left out, as {error}")

    # -- how it is started

    def _start(self, words: tuple[str, ...]) -> Flags:
        if command.program(words) == LLAMA_SERVER and words[0] == (self.setting.program or words[0]):
            flags = command.read_flags(words[1:])
            if flags.path or flags.elsewhere:
                return self._by_path(flags)
        self._by_command(words)
        return Flags()

    def _by_path(self, flags: Flags) -> Flags:
        for flag, what in flags.notes:
            self._note(f"cmd's {flag}", what)
        if flags.path:
            self.table.put("path", flags.path)
            if not flags.path.startswith(("/", "~", "${")):
                self._note("path", "it is relative, and is looked for under the [catalog] roots")
        else:
            source = " ".join(flags.elsewhere)
            self._problem(f"it names no file, only {source}: download that (LM Studio's or Hugging Face's own tool does"
                          " so) and set path")  # fmt: skip
            self.table.put("path", "", f"The file that {source} stands for:")
        if any("${PORT}" in word for word in flags.args):
            self._note("cmd", "${PORT} in args stays as it is: llmsup talks to llama-server over a socket")
        if self.raw.get("checkEndpoint") not in (None, "", "/health"):
            self._note("checkEndpoint", "not needed: llmsup knows how llama-server says that it is ready")
        return flags

    def _by_command(self, words: tuple[str, ...]) -> None:
        proxy = self.raw.get("proxy") or "http://localhost:${PORT}"
        match = _LOCAL.fullmatch(proxy) if isinstance(proxy, str) else None
        if not match:
            self._problem(f"it is answered by {proxy}, and llmsup serves only what it starts on this machine")
        elif (match[2] or "/") != "/":
            self._note("proxy", f"the path {match[2]} is left out: requests keep the path that they came with")
        if not any("${PORT}" in word for word in words):
            words = self._with_port(words, match[1] if match else "")
        if command.program(words) == LLAMA_SERVER:
            self.table.say("Another llama-server than the other models', so it keeps its command.")
        elif command.program(words) in _DOCKER:
            self.table.say(
                "A container: llmsup ends the client, which passes the signal on; --rm and --init in the"
                " command help that nothing stays behind. Memory is measured at the client only: set `memory`."
            )
        self.table.put("command", list(words))
        check = self.raw.get("checkEndpoint")
        if check == "none":
            self.table.put("health", "")
        elif isinstance(check, str) and check not in ("", "/health"):
            self.table.put("health", check)

    def _with_port(self, words: tuple[str, ...], fixed: str) -> tuple[str, ...]:
        """The command with ${PORT} as the port to listen on."""
        if fixed.isdecimal():
            word = re.compile(rf"(?<!\d){fixed}(?!\d)")
            found = [at for at, each in enumerate(words) if word.search(each)]
            if len(found) == 1:
                self._note("proxy", f"the port {fixed} is ${{PORT}} now: llmsup picks a free one at each start")
                return (*words[: found[0]], word.sub("${PORT}", words[found[0]], count=1), *words[found[0] + 1 :])
        if command.program(words) == LLAMA_SERVER and "--port" not in words:
            return (*words, "--port", "${PORT}")
        self._problem("its command does not say where to listen: put ${PORT} where its port belongs")
        return words

    # -- the other keys

    def _called(self, flags: Flags) -> None:
        aliases = self.raw.get("aliases")
        wanted = [text(alias) for alias in aliases] if isinstance(aliases, list) else []
        names = []
        for alias in dict.fromkeys([*wanted, *flags.aliases]):
            if alias != self.name and self.setting.free(alias, self.name):
                names.append(alias)
            elif alias != self.name:
                self._note("aliases", f"{alias!r} is left out, as another model has that name")
        if names:
            self.table.put("aliases", names)
        said = [text(self.raw.get(key)).strip() for key in ("name", "description")]
        if described := ": ".join(part for part in said if part):
            self.table.put("description", described)
        if self.raw.get("unlisted") is True:
            self.table.put("unlisted", True)
        if model := text(self.raw.get("useModelName")):
            self.table.put("upstream_model", model)

    def _idle(self) -> None:
        ttl = seconds_in(self.raw.get("ttl"))
        own = ttl is not None and ttl >= 0
        if own and ttl is not None:
            self.table.put("ttl", duration(ttl) if ttl else "never")
        if self.setting.persistent:
            if ttl == 0 or (not own and self.setting.never_idle):
                self.table.put("pinned", True, "From a persistent group: no other model's load unloads it.")
            else:
                # `pinned` would keep it even past its ttl
                self.table.put("priority", "high", "From a persistent group: it is among the last to be unloaded.")
        if self.setting.preload:
            self.table.put("preload", True)

    def _limits(self) -> None:
        for key, name in (("unloadTimeout", "stop_grace"), ("healthCheckTimeout", "start_timeout")):
            if (seconds := seconds_in(self.raw.get(key)) or 0) > 0:
                self.table.put(name, duration(seconds))
        limit = self.raw.get("concurrencyLimit")
        if isinstance(limit, int) and limit > 0:
            self.table.put("max_in_flight", limit, "More requests wait for their turn; none is refused with 429.")

    def _env(self) -> None:
        entries = self.raw.get("env")
        pairs = [text(entry).partition("=") for entry in entries] if isinstance(entries, list) else []
        if isinstance(entries, dict):
            pairs = [(key, "=", text(value)) for key, value in entries.items()]
        if env := {key.strip(): value for key, equals, value in pairs if equals and key.strip()}:
            self.table.put("env", env)
        for number, (key, equals, _) in enumerate(pairs, start=1):
            if not (equals and key.strip()):  # don't quote it: it may be a secret
                self._note("env", f"entry {number} is left out, as it is not NAME=VALUE")

    def _other_keys(self) -> None:
        if stop := text(self.raw.get("cmdStop")):
            self._note(
                "cmdStop", f"not needed: llmsup ends the whole process group with SIGTERM, then SIGKILL ({stop})"
            )
        for key in self.given:
            if key in _NO_COUNTERPART:
                self._note(key, f"no counterpart: {_NO_COUNTERPART[key]}")
            elif key not in _KNOWN:
                self._note(key, "no counterpart, or not known")
