"""llama-server's flags in other spellings: one build's `--typ-p` is another's `--typical-p`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, frozen

from ...config.flag_names import canonical, flag_in, spellings
from ...config.schema import ModelSpec
from ...errors import Collected, SetupError
from ..sampling import FIELD_OF, FIELDS, Field, body_value, read_flag
from .flags import FlagSet
from .load_mode import SWITCHES

# Flags whose effect is the default in every build that doesn't know them, with the number of words they take.
_SO_ANYWAY = {"--cont-batching": 0, "--defrag-thold": 1}

_LOAD_MODES: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "none": ("--no-mmap",),
    "mmap": ("--mmap",),
    "mlock": ("--no-mmap", "--mlock"),
    "mmap+mlock": ("--mlock",),  # mmap was on by default
    "dio": ("--direct-io",),
}

_DRAFT_LIMITS = ("--spec-draft-n-max", "--spec-draft-n-min")


@frozen
class Corrected:
    """A model's `args` as one engine accepts them.

    Attributes:
        words: The arguments.
        sampling: The sampling that this engine has no flags for, as fields for every request.
        changes: The changes, a clause each: "args: --typ-p is --typical-p here".
    """

    words: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = Factory(dict)
    changes: tuple[str, ...] = ()


def corrections(spec: ModelSpec, flag_set: FlagSet, *, place: str = "args") -> tuple[Corrected, Collected]:
    """Write a model's `args` as this engine spells them, wherever the meaning is certain.

    Anything uncertain is left unchanged, for `check_args` to report. A sampling flag with an invalid value, and a flag
    with several successors to choose from, are left out of the words and returned as problems.

    Args:
        place: The name of these arguments in a correction.
    """
    if not spec.args:
        return Corrected(), Collected()
    work = _Work(spec, flag_set, place)
    words = _split(spec.args, work.tell)
    words = _load_mode(words, flag_set, work.tell)
    return work.through(words), work.problems


def _split(args: tuple[str, ...], tell: Callable[[str, str], None]) -> list[str]:
    """Split `--flag=value`, which llama-server doesn't accept, into two words."""
    words: list[str] = []
    for word in args:
        flag, equals, value = word.partition("=")
        if equals and word.startswith("--") and flag_in(flag):
            tell(word, f"{flag} {value}")
            words += (flag, value)
        else:
            words.append(word)
    return words


def _load_mode(words: list[str], flag_set: FlagSet, tell: Callable[[str, str], None]) -> list[str]:
    """Turn old switches into --load-mode, or the reverse; several switches make one mode."""
    switches = [word for word in words if flag_in(word) in SWITCHES]
    modes = [word for word in words if canonical(flag_in(word)) == "--load-mode"]
    now = flag_set.pick(("--load-mode", "-lm"))
    if switches and not modes and now and not all(flag_in(word) in flag_set.flags for word in switches):
        mode = _mode(switches)
        tell(" ".join(switches), f"{now} {mode}" if mode else "")
        at = words.index(switches[0])
        rest = [word for word in words[at:] if word not in switches]
        return [*words[:at], *((now, mode) if mode else ()), *rest]
    if len(modes) == 1 and not now:
        at = words.index(modes[0])
        mode = words[at + 1] if at + 1 < len(words) else ""
        old = _LOAD_MODES.get(mode)
        if old is not None and flag_set.flags.issuperset(old):
            tell(f"{modes[0]} {mode}", " ".join(old))
            return [*words[:at], *old, *words[at + 2 :]]
    return words


def _mode(switches: list[str]) -> str:
    """Return the mode that old switches add up to; "" if that is the default."""
    said: dict[str, bool] = {}
    for word in switches:
        said.update(SWITCHES[flag_in(word)])
    if said.get("dio"):
        return "dio"
    if said.get("mlock"):
        return "mmap+mlock" if said.get("mmap", True) else "mlock"
    return {True: "mmap", False: "none", None: ""}[said.get("mmap")]


@define
class _Work:
    """One pass through a model's arguments."""

    spec: ModelSpec
    flag_set: FlagSet
    place: str
    out: list[str] = Factory(list)
    sampling: dict[str, Any] = Factory(dict)
    changes: list[str] = Factory(list)
    problems: Collected = Factory(Collected)

    def tell(self, old: str, new: str) -> None:
        self.changes.append(f"{self.place}: {old} is {new} here" if new else f"{self.place}: {old} is not needed here")

    def through(self, words: list[str]) -> Corrected:
        rest = iter(enumerate(words))
        for at, word in rest:
            flag = flag_in(word)
            after = words[at + 1] if at + 1 < len(words) else None
            used: int | None = 0
            with self.problems.noting():
                used = self._one(word, flag, after) if flag else None
            if used is None:
                self.out.append(word)
            elif used:
                next(rest, None)
        sampled = self.spec.kind in (None, "chat")
        fields = {name: body_value(name, value) for name, value in self.sampling.items()} if sampled else {}
        return Corrected(tuple(self.out), fields, tuple(self.changes))

    def _one(self, word: str, flag: str, after: str | None) -> int | None:
        """Rewrite one flag. Returns how many of the words after it were consumed; None if the flag is unchanged."""
        family = spellings(flag)
        if family[0] in _DRAFT_LIMITS and flag != family[0]:
            return self._draft_limit(word, family[0])
        if flag in self.flag_set.flags:
            return self._flash_attention(word, after) if family[0] == "--flash-attn" else None
        if known := self.flag_set.pick(family):
            self.tell(word, known)
            return (
                self._flash_attention(known, after, renamed=True) if family[0] == "--flash-attn" else self._put(known)
            )
        if family[0] in _SO_ANYWAY:
            self.tell(word, "")
            return _SO_ANYWAY[family[0]]
        if field := next((each for each in family if each in FIELD_OF), None):
            return self._sampling(word, field, after)
        return None if flag.startswith("--") else self._put(family[0])  # messages use the long name

    def _put(self, *words: str) -> int:
        self.out += words
        return 0

    def _flash_attention(self, word: str, after: str | None, *, renamed: bool = False) -> int | None:
        """Add the value that the flag takes since August 2025; builds with --cache-ram, which is newer, need it."""
        if (after is None or flag_in(after)) and "--cache-ram" in self.flag_set.flags:
            self.tell(word, f"{word} on")
            return self._put(word, "on")
        return self._put(word) if renamed else None

    def _draft_limit(self, word: str, now: str) -> int | None:
        """Replace a limit for every way to draft: each way now has its own, and the old flag is refused."""
        if now not in self.flag_set.flags:
            return None
        flags = {canonical(flag_in(each)) for each in self.spec.args}
        if "--spec-draft-model" not in flags or any("ngram" in each for each in self.spec.args):
            other = now.replace("-draft-", "-ngram-mod-")
            raise SetupError(
                f"model {self.spec.name}: args has {word!r}, which {self.flag_set.name} no longer takes.",
                hint=f"It is {now} for a draft model, and for example {other} for drafts from the text itself.",
            )
        self.tell(word, now)
        return self._put(now)

    def _sampling(self, word: str, flag: str, after: str | None) -> int:
        name = FIELD_OF[flag]
        switch = FIELDS.get(name, Field()).form == "switch"
        where = f"model {self.spec.name}: args has {word!r}"
        if after is None and not switch:
            raise SetupError(f"{where}, but no value for it.")
        try:
            value = read_flag(flag, after or "", self.sampling.get(name))
        except ValueError as error:
            raise SetupError(f"{where}, but {error}.") from None
        if (name, value) != ("max_tokens", -1):
            self.sampling[name] = value
        self.changes.append(f"args: {word} is sent with each request as {name} here")
        return 0 if switch else 1
