"""A model's `filters`, which change request bodies, as [models.NAME.request] and presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define

from ...config.sampling import PARAMETERS
from ...config.write import Table, can_say
from .values import text


def convert(name: tuple[str, ...], filters: Any, note: Callable[[str, str], None]) -> list[Table]:
    """The tables below a model's own table.

    Args:
        name: The model's table.
        note: Called with each key that is left out, and why.
    """
    return _Filters(name, note).run(filters) if isinstance(filters, dict) else []


@define
class _Filters:
    name: tuple[str, ...]
    note: Callable[[str, str], None]
    presets: list[Table] = Factory(list)

    def run(self, filters: Mapping[str, Any]) -> list[Table]:
        request = Table((*self.name, "request"))
        for key, value in filters.items():
            match key.replace("_", "").casefold():
                case "stripparams":
                    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
                    strip = [name for name in (text(item).strip() for item in names) if name not in ("", "model")]
                    if strip:
                        request.put("strip", list(dict.fromkeys(strip)))
                case "setparams" if isinstance(value, dict):
                    self._set(request, value)
                case "setparamsbyid" if isinstance(value, dict):
                    for model, params in value.items():
                        self._preset(model, params)
                case _:
                    self.note(f"filters.{key}", "no counterpart, or not known")
        return [*self.presets, request] if request.lines else self.presets

    def _set(self, request: Table, params: Mapping[str, Any]) -> None:
        wanted = {key: value for key, value in params.items() if key != "model"}
        for key in [key for key, value in wanted.items() if not can_say(value)]:
            self.note(f"filters.setParams.{key}", "left out, as TOML can't say null")
            del wanted[key]
        if wanted:
            request.put("set", wanted)

    def _preset(self, model: str, params: Any) -> None:
        """Make a preset of a second name's parameters, if they are for sampling and the name is MODEL:PRESET."""
        key = f"filters.setParamsByID.{model}"
        base, _, preset = model.rpartition(":")
        if base != self.name[-1] or not preset or not isinstance(params, dict):
            self.note(key, f"no counterpart: only a name such as {self.name[-1]}:PRESET can set parameters")
            return
        if why := _no_preset(params):
            self.note(key, f"left out, as {why}: a preset holds nothing else")
            return
        table = Table((*self.name, "presets", preset), above=["What a client sets itself wins over a preset."])
        for name, value in params.items():
            table.put(name, value)
        self.presets.append(table)


def _no_preset(params: Mapping[str, Any]) -> str:
    """Why parameters can't be a preset, a clause; "" if they can."""
    for name, value in params.items():
        if name not in PARAMETERS:
            return f"{name} is no sampling parameter"
        try:
            PARAMETERS[name].check(value)
        except ValueError as error:
            return f"{name} {error}"
        if not can_say(value):
            return f"TOML can't say {name}'s null"
    return ""
