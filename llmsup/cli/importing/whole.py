"""Converts llama-swap's whole file to one TOML text, with a list of what was left out; each model in `model`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from ...config.checks import parse_listen
from ...config.load import parse
from ...config.wording import dotted
from ...config.write import Table, comment, commented_out, document
from ...engines.kinds import KINDS
from ...engines.llama_server import NAME as LLAMA_SERVER
from ...errors import ConfigError
from ...gateway.hosts import is_loopback
from . import command, model
from .left_out import left_out
from .macros import expand_all
from .macros import read as read_macros
from .reading import read
from .values import duration, inside, items, seconds_in, text

_LARGEST = 1 << 21
"""Characters of all models' commands and tables together; without macros they are about as long as the YAML."""


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set: reporting missing ones is up to `llmsup check`."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return name


@frozen
class Imported:
    """The result of an import.

    Attributes:
        text: TOML that llmsup accepts.
        notes: What was left out or changed, one line each, with its place.
        private: Whether it contains API keys, or environment variables, which may be secret.
    """

    text: str
    notes: tuple[str, ...]
    private: bool


def convert(data: bytes, source: str) -> Imported:
    """Import a llama-swap config.

    Raises:
        ConfigError: It can't be read as YAML, with line and column, or its macros grow beyond bounds.
    """
    return _Whole(read(data, source), source).run()


class _Whole:
    def __init__(self, raw: Mapping[str, Any], source: str) -> None:
        self.raw = raw
        self.source = source
        self.macros = read_macros(raw.get("macros"))
        models = raw.get("models")
        self.models = (
            {name: spec for name, spec in models.items() if isinstance(spec, dict)} if isinstance(models, dict) else {}
        )
        self.notes: list[str] = []
        self.size = 0
        self.words = {name: self._words(name, spec) for name, spec in self.models.items()}
        self.owners: dict[str, str] = {}
        for name, spec in self.models.items():
            for alias in items(spec.get("aliases")):
                self.owners.setdefault(text(alias), name)
        self.never_idle = not (seconds_in(raw.get("globalTTL")) or 0) > 0

    def run(self) -> Imported:
        program = self._program()
        server = self._server()
        without = list(left_out(self.raw, self.models, self._preloaded()))
        self.notes += without
        parts: list[Table | str] = [server, *self._defaults()]
        if "/" in program or "\\" in program:
            engine = Table(("engines", LLAMA_SERVER))
            engine.put("command", [program])
            parts.append(engine)
        parts = [self._accepted(part) for part in parts]
        parts += [self._model(name, spec, program) for name, spec in self.models.items()]
        header = [
            f"Imported from {self.source}, a config of llama-swap's; its own comments are not carried over.",
            "What each model resolves to: llmsup check.",
        ]
        if without:
            header += ["", "Not taken over:", *(f"- {note}" for note in without)]
        keys = any(line.startswith("api_keys = ") and line != "api_keys = []" for line in server.lines)
        # A model's environment may also contain secrets, such as HF_TOKEN.
        tables = self.raw.get("models")
        env = isinstance(tables, dict) and any(isinstance(each, dict) and each.get("env") for each in tables.values())
        return Imported(document(header, parts), tuple(self.notes), keys or env)

    def _words(self, name: str, spec: Mapping[str, Any]) -> tuple[str, ...] | str:
        """A model's command, or why it has none."""
        try:
            words = model.words_of(name, spec, self.macros)
        except ValueError as error:
            return str(error)
        self._grow(sum(map(len, words)))
        return words

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size > _LARGEST:
            raise ConfigError((f"its macros repeat too much @ {self.source}",), self.source)

    # -- the parts

    def _server(self) -> Table:
        table = Table(("server",))
        keys = [self._macro_free("apiKeys", text(key)) for key in items(self.raw.get("apiKeys"))]
        keys = [key for key in keys if key]
        listen = self._listen(text(self.raw.get("listen")))
        if listen:
            host, _ = parse_listen(listen)
            if not is_loopback(host) and not keys:
                table.say("This is open to the whole network, and api_keys is empty: anyone there may use the models.")
                self.notes.append("listen: open to the network, and there are no apiKeys.")
            table.put("listen", listen)
        else:
            table.say("For this machine only. llama-swap listens on 0.0.0.0:8080 unless its -listen says otherwise.")
            table.put("listen", "127.0.0.1:5005")
        if keys:
            table.put("api_keys", keys)
        return table

    def _listen(self, said: str) -> str:
        if not said:
            return ""
        listen = f"0.0.0.0{said}" if said.startswith(":") else said  # noqa: S104 -- what ":8080" means in llama-swap
        try:
            parse_listen(listen)
        except ValueError:
            self.notes.append(f"listen: {said!r} is not HOST:PORT.")
            return ""
        return listen

    def _macro_free(self, key: str, value: str) -> str:
        try:
            return str(expand_all(value, self.macros, ""))
        except ValueError as error:
            self.notes.append(f"{key}: left out, as {error}.")
            return ""

    def _defaults(self) -> Iterator[Table]:
        catalog = Table(("catalog",))
        catalog.say(
            "llmsup also serves the models that it finds in LM Studio's and Ollama's folders, beside those below."
            " To serve only those below, as llama-swap does:",
            "serve_all = false",
        )
        yield catalog
        table = Table(("defaults",))
        ttl = seconds_in(self.raw.get("globalTTL")) or 0
        if ttl > 0:
            table.put("ttl", duration(ttl))
        elif any((seconds_in(spec.get("ttl")) or -1) < 0 and spec.get("ttl") != 0 for spec in self.models.values()):
            table.put("ttl", "never", "llama-swap unloads no idle model unless it is told to; llmsup would after 30m.")
        if (start := seconds_in(self.raw.get("healthCheckTimeout"))) is not None:
            table.put("start_timeout", duration(max(start, 15)))
        if (grace := seconds_in(self.raw.get("unloadTimeout")) or 0) > 0:
            table.put("stop_grace", duration(grace))
        if table.lines:
            yield table

    def _model(self, name: str, spec: Mapping[str, Any], program: str) -> str:
        setting = model.Setting(
            macros=self.macros,
            program=program,
            preload=self._is_among(name, spec, self._preloaded()),
            persistent=self._is_among(name, spec, self._persistent()),
            never_idle=self.never_idle,
            free=self._free,
        )
        imported = model.convert(name, spec, self.words[name], setting)
        self._grow(sum(len(line) for table in imported.tables for line in table.lines))
        place = dotted(("models", name))
        self.notes += [f"{place}.{note}" for note in imported.notes]
        text = document([], list(imported.tables))
        problem = imported.problem or _mistake(text)
        if not problem:
            return text
        self.notes.append(f"{place}: not served, as {problem}.")
        return "\n".join([*comment(f"Not served, as {problem}:"), commented_out(text)])

    def _accepted(self, part: Table | str) -> str:
        text = part if isinstance(part, str) else part.text()
        if not (mistake := _mistake(text)):
            return text
        self.notes.append(f"left out, as {mistake}.")
        return "\n".join([*comment(f"Left out, as {mistake}:"), commented_out(text)])

    # -- what several models share

    def _program(self) -> str:
        """The llama-server that most models are started with; "" if there is none."""
        programs = Counter(
            words[0]
            for words in self.words.values()
            if not isinstance(words, str) and command.program(words) == LLAMA_SERVER
        )
        return programs.most_common(1)[0][0] if programs else ""

    def _free(self, alias: str, name: str) -> bool:
        """Whether a model can have an alias: names in `aliases` take precedence over those in commands."""
        return alias not in self.models and self.owners.setdefault(alias, name) == name

    def _is_among(self, name: str, spec: Mapping[str, Any], names: set[str]) -> bool:
        return not names.isdisjoint([name, *map(text, items(spec.get("aliases")))])

    def _preloaded(self) -> set[str]:
        return set(map(text, items(inside(self.raw, "hooks", "on_startup", "preload"))))

    def _persistent(self) -> set[str]:
        members: set[str] = set()
        for groups in (self.raw.get("groups"), inside(self.raw, "routing", "router", "settings", "groups")):
            for group in groups.values() if isinstance(groups, dict) else ():
                if (
                    isinstance(group, dict)
                    and group.get("persistent") is True
                    and isinstance(group.get("members"), list)
                ):
                    members.update(map(text, group["members"]))
        return members


def _mistake(toml: str) -> str:
    """Why llmsup would reject a part of a config, a clause; "" if it wouldn't."""
    try:
        parse(toml, "", _AnyVariable(), engines=KINDS.words)
    except ConfigError as error:
        return "; ".join(mistake.rpartition(" @ ")[0] for mistake in error.mistakes)
    return ""
