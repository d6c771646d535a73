"""Reads untrusted YAML: plain values only, bounded, no duplicate keys, and mistakes with line and column."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from ...config.wording import got
from ...errors import ConfigError
from ...units import format_bytes

LARGEST = 1 << 19
"""Bytes of YAML: enough for more than a thousand models."""

_MOST_VALUES = 100_000
_DEEPEST = 50
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, closer to YAML 1.2 as llama-swap's is: `on` is a string and 1:30 isn't a number."""

    copied = 0  # values repeated so far by references to anchors

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ARG002, FBT001, FBT002, RUF100 -- PyYAML's
        self.flatten_mapping(node)
        table: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one word", key_node.start_mark)
            # 3.10 as a key is a model's name, not a number; the same goes for aliases
            if key_node.value == "aliases" and isinstance(value_node, yaml.SequenceNode):
                self._copy(len(value_node.value), value_node)
                table[key_node.value] = [each.value for each in value_node.value if isinstance(each, yaml.ScalarNode)]
            else:
                table[key_node.value] = self.construct_object(value_node, deep=True)
        return table

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge `<<`; a duplicate key is an error, and growth by merging merged tables is bounded."""
        if getattr(node, "merged", False):
            return
        node.merged = True  # type: ignore[attr-defined]
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"the key {key_node.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key_node.value)
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for table in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if isinstance(table, yaml.MappingNode):
                        self.flatten_mapping(table)  # first, else what it merges itself would not be counted
                        self._copy(1 + len(table.value), node)
        super().flatten_mapping(node)
        latest = {key.value if isinstance(key, yaml.ScalarNode) else id(key): (key, value) for key, value in node.value}
        node.value = list(latest.values())

    def _copy(self, values: int, node: yaml.Node) -> None:
        """Count copies: `<<: [*a, *a, ...]` copies a's keys each time, so a small file could cause endless work."""
        self.copied += values
        if self.copied > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, "too much is merged here", node.start_mark)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [c.replace("\0", "") for c in _first]
    )


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    text = str(loader.construct_scalar(node))
    return int(text, 16 if "x" in text else 10) if len(text) < 20 else text


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)


def read(data: bytes, source: str) -> dict[str, Any]:
    """Read YAML that is one table.

    Args:
        source: What messages call it.

    Raises:
        ConfigError: It is too large, not YAML, not a table, or grows beyond bounds; with line and column if known.
    """
    if len(data) > LARGEST:
        raise ConfigError((f"larger than {format_bytes(LARGEST)}: this is no llama-swap config @ {source}",), source)
    try:
        value = yaml.load(data.decode("utf-8-sig"), Loader=_Loader)  # noqa: S506 -- it is a SafeLoader
        _bounded(value)
    except UnicodeDecodeError as error:
        raise ConfigError((f"not UTF-8 text: {error.reason} at byte {error.start} @ {source}",), source) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ConfigError((f"not valid YAML: {error.problem or error.context} @ {where}",), source) from None
    except yaml.YAMLError as error:
        raise ConfigError((f"not valid YAML: {' '.join(str(error).split())} @ {source}",), source) from None
    except RecursionError:
        raise ConfigError((f"nested too deeply @ {source}",), source) from None
    except ValueError as error:
        raise ConfigError((f"{error} @ {source}",), source) from None
    if not isinstance(value, dict):
        found = "got nothing" if value is None else got(value)
        raise ConfigError((f"expected a table with 'models', {found} @ {source}",), source)
    return value


def _bounded(value: Any) -> None:
    """Refuse what only looks small: nested anchors, expanded, can be larger than any memory."""
    count = 0
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        count += 1
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError("its anchors repeat too much" if count > _MOST_VALUES else "nested too deeply")
        if isinstance(item, str):
            item.encode()  # half of a surrogate pair couldn't be written out
        inside = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        stack += [(each, depth + 1) for each in inside]
