"""Each room imports only from those above it, and each foreign library has one place where it may be used."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import llmsup

PACKAGE = Path(llmsup.__file__).parent
ROOMS = re.findall(r"^    (\w+)(?:/|\.py) ", llmsup.__doc__ or "", re.MULTILINE)
"""From the one deepest down, which imports nothing of ours, to the one that may import them all."""

PARTS = {
    room: [
        frozenset(f"llmsup.{room}.{part.strip()}" for part in parts.split(","))
        for parts in order.split("<")
        if parts.strip() != "the rest"
    ]
    for room, order in re.findall(r"^    (\w+)/ .*\n((?: .*< .*\n)+)", llmsup.__doc__ or "", re.MULTILINE)
}
"""The parts of a room, in their order: packages and modules; those on one step may import each other."""

OWNERS = {
    "httptools": "llmsup.engines.response llmsup.web.head",
    "quart": "llmsup.web*",
    "quart_trio": "llmsup.web*",
    "hypercorn": "llmsup.web*",
    "prometheus_client": "llmsup.web.metrics",
    "sqlite3": "llmsup.history*",
    "xllamacpp": "llmsup.engines.bundled*",
    "huggingface_hub": "llmsup.downloads.hub_client",
    "httpx2": "llmsup.downloads.hub_client",
    "click": "llmsup.cli*",
    "rich": "llmsup.cli*",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, as it is imported."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("llmsup", *path.relative_to(PACKAGE).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """All that a source imports, wherever in it, as absolute dotted names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = module.split(".")[: -up or None] if node.level else []
            where = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join((*where, alias.name)) for alias in node.names)


def offences(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What a source may not import."""

    def room(name: str) -> str:
        return name.split(".")[1] if name.startswith("llmsup.") else ""

    def fine(name: str) -> bool:
        top = name.partition(".")[0]
        if top != "llmsup":
            return any(fnmatchcase(module, owner) for owner in OWNERS.get(top, "*").split())
        if room(module) == "__main__":  # `python -m llmsup` is another door to the command line
            return True
        allowed = ROOMS[: ROOMS.index(room(module)) + 1] if room(module) else []
        return room(name) in allowed or room(name) not in ROOMS  # the package itself: its version, for one

    def step(name: str) -> int:
        """How high in its room a module is: the longest name that fits decides; what isn't named is on top."""
        steps = PARTS.get(room(name), [])
        fits = [
            (len(part), at) for at, parts in enumerate(steps) for part in parts if f"{name}.".startswith(f"{part}.")
        ]
        return max(fits)[1] if fits else len(steps)

    def above(name: str) -> bool:
        return room(name) == room(module) and name.count(".") > 1 and step(name) > step(module)

    return [n for n in imports(source, module, is_package=is_package) if not fine(n) or above(n)]


def test_the_order_is_the_one_that_is_written_down() -> None:
    """The docstring of the package is the law, and it is read right."""
    wanted = (
        "errors units process config catalog engines memory prompt_cache fleet peers bridge downloads "
        "gateway history web tree cli"
    )
    assert wanted.split() == ROOMS


def test_the_parts_are_there() -> None:
    """The order inside the rooms is read right, and each part of it exists."""
    assert set(PARTS) == {"catalog", "engines", "memory", "fleet"}
    names = {name for name, _ in modules()}
    assert {part for steps in PARTS.values() for parts in steps for part in parts} <= names


def test_every_module_has_a_room() -> None:
    """A new room must be given its place in the order."""
    rooms = {name.split(".")[1] for name, _ in modules() if "." in name}
    assert rooms - {"__main__"} <= set(ROOMS)


@pytest.mark.parametrize(("module", "path"), [pytest.param(name, path, id=name) for name, path in modules()])
def test_each_room_imports_only_from_those_above(module: str, path: Path) -> None:
    """No module reaches down, and none uses a library that another room hides."""
    assert offences(path.read_text("utf-8"), module, is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("llmsup.errors", "from . import units", ["llmsup.units"]),
        ("llmsup.units", "from .config.schema import Config", ["llmsup.config.schema.Config"]),
        ("llmsup.engines.pool", "from ..fleet import model", ["llmsup.fleet.model"]),
        ("llmsup.engines.pool", "from .. import fleet", ["llmsup.fleet"]),
        ("llmsup.engines.pool", "import llmsup.web.app", ["llmsup.web.app"]),
        ("llmsup.engines.pool", "def f():\n    from ..gateway import sse", ["llmsup.gateway.sse"]),
        ("llmsup.engines.pool", "if True:\n    import httptools.parser", ["httptools.parser"]),
        ("llmsup.memory.policy.inputs", "from ..machine import psi", ["llmsup.memory.machine.psi"]),
        ("llmsup.fleet.engine.oom", "from ..fleet import Fleet", ["llmsup.fleet.fleet.Fleet"]),
        ("llmsup.catalog.gguf.facts", "from ..found import Stamp", ["llmsup.catalog.found.Stamp"]),
        ("llmsup.catalog.gguf.header_cache", "from ..found import Stamp", []),
        ("llmsup.gateway.body", "from quart import Request", ["quart.Request"]),
        ("llmsup.tree", "import rich.table as t, click", ["rich.table", "click"]),
        ("llmsup.fleet.engine.process_engine", "import xllamacpp", ["xllamacpp"]),
        ("llmsup.engines.pool", "from .connection import Connection\nfrom ..errors import Error\nimport trio", []),
        ("llmsup.engines.response", "import httptools", []),
        ("llmsup.engines.bundled.flags", "import xllamacpp", []),
        ("llmsup.web.control", "from .. import __version__\nfrom quart import Blueprint", []),
        ("llmsup.__main__", "from .cli import main", []),
    ],
)
def test_the_check_can_fail(module: str, source: str, found: list[str]) -> None:
    """An offence is seen, wherever it stands and however it is written."""
    assert offences(source, module) == found


def test_a_package_is_its_own_base() -> None:
    """In an `__init__`, one dot is the package itself, not what it is in."""
    source = "from .load import parse\nfrom ..fleet import Fleet\nfrom ..units import Bytes"
    assert offences(source, "llmsup.config", is_package=True) == ["llmsup.fleet.Fleet"]


def test_the_guard_needs_hardly_anything() -> None:
    """Isolated and without site-packages: of ours it has `kin` and its `marks`, which have nothing but psutil."""
    guard = set(imports((PACKAGE / "process/guard.py").read_text("utf-8"), "guard"))
    modules = ("kin", "marks")
    sources = [(PACKAGE / f"process/{module}.py").read_text("utf-8") for module in modules]
    kin = {name.split(".")[0] for source in sources for name in imports(source, "kin")} - {*modules}
    assert {name.split(".")[0] for name in guard - {"llmsup.process.kin"}} <= sys.stdlib_module_names
    assert kin <= sys.stdlib_module_names | {"psutil"}


STARTS = ("open_process", "run_process", "Popen", "check_call", "check_output")
SHELLS = ("subprocess.run", "subprocess.call", "os.system", "os.popen", "subprocess.getoutput")


def starts(source: str) -> Iterator[ast.Call]:
    """Every call that starts a program; `partial(f, …)` counts as a call of f."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            named = [node.func, *(node.args[:1] if ast.unparse(node.func).endswith("partial") else [])]
            words = [ast.unparse(each) for each in named]
            if any(word.rpartition(".")[2] in STARTS or word in SHELLS for word in words):
                yield node


def test_every_program_is_given_its_environment() -> None:
    """None inherits ours as it is: there are secrets in it (`process.inheritance`)."""
    found = [(name, call) for name, path in modules() for call in starts(path.read_text("utf-8"))]
    bare = [(name, ast.unparse(call)) for name, call in found if not any(word.arg == "env" for word in call.keywords)]
    assert bare == []
    expected = {"llmsup.process.child", "llmsup.process.guarding", "llmsup.process.programs"}
    assert {name for name, _ in found} == expected, "what is run for what it prints goes through `process.programs`"


def test_a_start_without_an_environment_is_seen() -> None:
    source = "trio.run_process(['x'])\npartial(trio.lowlevel.open_process, ['x'])\nsubprocess.run('x')\nos.system('x')"
    assert len(list(starts(source))) == 4
