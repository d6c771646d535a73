"""What people install: the sdist and the wheel, made as for an index, and the wheel at work in an empty environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path
from threading import Timer

import pytest
import yaml

import llmsup

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAME = f"llmsup-{llmsup.__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
PATIENCE = 120
OWN = dict(os.environ)
"""The environment before `conftest` changed $HOME: pip's settings and its cache are in the real one."""


def run(*command: str | Path, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(*words: str, to: Path) -> None:
    """Without isolation: the build backend is among the development tools, so nothing is fetched."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, *words, ROOT, env=OWN, cwd=to.parent)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("package") / "made"
    build(to=folder)
    return folder


def test_the_wheel_of_the_sdist_is_that_of_the_tree(made: Path, tmp_path: Path) -> None:
    """To the byte, and nothing else is made."""
    assert sorted(path.name for path in made.iterdir()) == [WHEEL, f"{NAME}.tar.gz"]
    build("--wheel", to=tmp_path / "straight")
    assert (made / WHEEL).read_bytes() == (tmp_path / "straight" / WHEEL).read_bytes()


def test_the_wheel_holds_the_package_and_nothing_else(made: Path) -> None:
    """Every file under llmsup/, whatever its kind, the manual page, and no tests or tools, which would lie beside other
    people's.
    """
    with zipfile.ZipFile(made / WHEEL) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    files = (path for path in (ROOT / "llmsup").rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    manual = f"{NAME}.data/data/share/man/man1/llmsup.1"
    assert names == {manual, *(path.relative_to(ROOT).as_posix() for path in files)}


def test_the_sdist_holds_what_the_gate_needs(made: Path) -> None:
    with tarfile.open(made / f"{NAME}.tar.gz") as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    assert {"tools/test", "tools/venv", "tests/conftest.py", "etc/llmsup.toml", "LICENSE", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", "dist"))]


def test_it_works_in_an_empty_environment(made: Path, tmp_path: Path) -> None:
    """What it depends on is all declared: it is installed as a stranger would, and serves, with nothing set up."""
    venv.create(tmp_path / "venv", with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / "venv", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--only-binary=:all:", made / WHEEL, env=OWN, cwd=tmp_path)
    run(*pip, "check", env=OWN, cwd=tmp_path)

    home, empty = tmp_path / "home", tmp_path / "empty.toml"
    home.mkdir()
    empty.touch()
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LLMSUP_CONFIG": str(empty)}
    llmsup_ = tmp_path / "venv/bin/llmsup"
    assert "serve" in run(llmsup_, "--help", env=env, cwd=home)
    assert llmsup.__version__ in run(llmsup_, "--version", env=env, cwd=home)
    run(llmsup_, "check", env=env, cwd=home)
    with subprocess.Popen(
        [llmsup_, "serve", "--listen", "127.0.0.1:0"], env=env, cwd=home, stderr=-1, text=True
    ) as server:
        clock = Timer(PATIENCE, server.kill)
        clock.start()
        try:
            assert server.stderr is not None
            lines = iter(server.stderr.readline, "")
            port = next(found[1] for line in lines if (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line)))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
                assert answer.status == 200
            run(llmsup_, "ps", env=env, cwd=home)  # it finds the server by itself
            server.send_signal(signal.SIGTERM)
            rest = server.stderr.read()
            assert server.wait(PATIENCE) == 0, rest
        finally:
            clock.cancel()
            server.kill()


def test_ci_runs_on_the_pythons_that_are_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"
