"""`llmsup service`: what it writes, whom it tells, and whose files it leaves alone.

launchctl and systemctl are programs of the test's: what launchd and systemd do themselves is not ours to test, and only
one of them is here.
"""

from __future__ import annotations

import os
import plistlib
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmsup.cli import main
from llmsup.cli.service import launchctl

FAKE = """\
#!{python}
import sys
from pathlib import Path
folder = Path({folder!r})
asked = " ".join(sys.argv[1:])
with (folder / "asked").open("a") as file:
    print(asked, file=file)
for line in (folder / "answers").read_text().splitlines():
    what, code, said = line.split("|")
    if what in asked:
        print(said, file=sys.stderr if code != "0" else sys.stdout)
        sys.exit(int(code))
"""


class Tool:
    """A program that does nothing, notes what it is asked, and answers as told."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.answer()
        program = folder / name
        program.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)

    def answer(self, *lines: str) -> None:
        """`PART OF THE QUESTION|EXIT CODE|WHAT IT SAYS`; anything else is answered 0, and forget what was asked."""
        (self._folder / "answers").write_text("".join(f"{line}\n" for line in lines))
        (self._folder / "asked").unlink(missing_ok=True)

    @property
    def asked(self) -> list[str]:
        asked = self._folder / "asked"
        return asked.read_text().splitlines() if asked.exists() else []


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["service", *words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and a PATH on which nothing is."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    config = tmp_path / "llmsup.toml"
    config.write_text("server.listen = '127.0.0.1:0'\n")
    monkeypatch.setenv("LLMSUP_CONFIG", str(config))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("llmsup.cli.service.commands.usual", lambda: "systemd")
    return home


@pytest.fixture
def unit(here: Path) -> Path:
    return here / ".config/systemd/user/llmsup.service"


@pytest.fixture
def systemctl(here: Path) -> Tool:
    return Tool(here.parent / "tools", "systemctl")


# --- systemd ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_install_and_uninstall(unit: Path, systemctl: Tool) -> None:
    """What is written is what `print` prints, and only its owner may read it; a second install restarts."""
    printed = run("print").stdout
    assert not unit.exists()
    assert systemctl.asked == []
    done = run("install")
    assert done.exit_code == 0, done.output
    assert "linger" in done.stdout
    assert unit.read_text() == printed
    assert unit.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in unit.parent.iterdir()] == [unit.name]
    started = ["--user daemon-reload", "--user enable --now llmsup.service"]
    assert systemctl.asked == started
    systemctl.answer()
    assert run("install").exit_code == 0
    assert systemctl.asked == [*started, "--user restart llmsup.service"]
    systemctl.answer()
    assert run("uninstall").stdout == f"Removed {unit}\n"
    assert not unit.exists()
    assert systemctl.asked == ["--user disable --now llmsup.service", "--user daemon-reload"]
    again = run("uninstall")
    assert (again.exit_code, again.stdout) == (0, f"There is no {unit}: nothing to do.\n")


def test_without_systemctl(unit: Path) -> None:
    """The file stays, and what to type is said; and it can be removed, as nothing runs."""
    done = run("install")
    assert done.exit_code == 1
    assert unit.exists()
    assert f"there is no systemctl on this machine. {unit} stays" in done.stderr
    assert "systemctl --user daemon-reload && systemctl --user enable --now llmsup.service" in done.stderr
    assert "no systemctl" in run("status").stdout
    assert run("uninstall").exit_code == 0
    assert not unit.exists()


def test_a_systemctl_that_says_no(unit: Path, systemctl: Tool) -> None:
    """In its own words, made fit for a line; an uninstall that can't stop the service removes nothing."""
    systemctl.answer("enable|1|Job failed.\x1b[31m", "disable|1|Failed to connect to bus")
    done = run("install")
    assert done.exit_code == 1
    assert "`systemctl --user enable --now llmsup.service` failed: Job failed.\\x1b[31m." in done.stderr
    assert "journalctl --user --unit llmsup.service" in done.stderr
    assert unit.exists()
    left = run("uninstall")
    assert left.exit_code == 1
    assert f"Failed to connect to bus. If it doesn't run, remove its file by hand: rm {unit}" in left.stderr
    assert unit.exists()


def test_a_foreign_file_stays(unit: Path, systemctl: Tool) -> None:
    """Whatever it is: a file, a link, a directory, one that only quotes us somewhere far down."""
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/mine\n")
    for words in (("install",), ("uninstall",), ("status",)):
        done = run(*words)
        assert done.exit_code == 1
        assert "was not written by `llmsup service install`, so it is left alone" in done.stderr
    assert unit.read_text() == "[Service]\nExecStart=/mine\n"
    unit.unlink()
    unit.symlink_to("/dev/null")
    for word in ("install", "uninstall"):
        assert "is a link to /dev/null, so it is left" in run(word).stderr
    assert unit.is_symlink()
    unit.unlink()
    unit.mkdir()
    assert "can't be read: Is a directory" in run("install").stderr
    assert systemctl.asked == []


def test_a_place_that_can_not_be_written(here: Path, systemctl: Tool) -> None:
    """Nothing is written, and nobody is told."""
    (here / ".config").write_text("a file")
    done = run("install")
    assert done.exit_code == 1
    assert "can't be read: Not a directory" in done.stderr
    assert os.listdir(here) == [".config"]
    (here / ".config").unlink()
    (here / ".config").symlink_to(here / "none")
    assert ".config" in run("install").stderr
    assert systemctl.asked == []


def test_a_bad_config_is_found_before_anything_is_written(here: Path, unit: Path, systemctl: Tool) -> None:
    """Exit code 2, every mistake. At the usual port there may be the llmsup of whoever runs the tests."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    (here.parent / "llmsup.toml").write_text(f'a = 1\nb = 2\n[server]\nlisten = "127.0.0.1:{port}"\n')
    for word in ("print", "install"):
        done = run(word)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 2)
    assert not unit.exists()
    told = run("status").stdout
    assert "2 mistakes" in told
    assert "`llmsup check`" in told


def test_a_python_that_does_not_find_us(here: Path, unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has no PYTHONPATH and another directory; that is tried before."""
    alone = here / "bin" / "python"
    alone.parent.mkdir()
    alone.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    alone.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(alone))
    done = run("install")
    assert done.exit_code == 1
    assert "does not work outside of this terminal" in done.stderr
    assert f"{alone} -m pip install llmsup" in done.stderr
    monkeypatch.setattr(sys, "executable", "")
    assert "Python doesn't know where it is" in run("install").stderr
    assert not unit.exists()


def test_by_sudo_it_would_be_somebody_elses(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused; a root that is nobody else is fine."""
    monkeypatch.setenv("SUDO_USER", "me")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    done = run("install")
    assert (done.exit_code, "without sudo" in done.stderr) == (1, True)
    assert not unit.exists()


def test_an_address_that_is_taken(here: Path, unit: Path, systemctl: Tool) -> None:
    """By a server in a terminal, say: the first install says so; a later one replaces what runs."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (here.parent / "llmsup.toml").write_text(f"server.listen = '127.0.0.1:{taken.getsockname()[1]}'\n")
        done = run("install")
        assert done.exit_code == 1
        assert "Address already in use" in done.stderr
        assert not unit.exists()
        taken.close()
        assert run("install").exit_code == 0
    assert systemctl.asked[-1] == "--user enable --now llmsup.service"


def test_status(systemctl: Tool, unit: Path) -> None:
    """The manager's word, and whether the server answers: nobody does here."""
    systemctl.answer("show|0|LoadState=not-found")
    done = run("status", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "(not there; `llmsup service install` writes it)" in done.stdout
    assert "systemd: not loaded\nserver:  no server answers at http://127.0.0.1:9" in done.stdout
    run("install")
    assert f"file:    {unit}\nsystemd: not loaded" in run("status").stdout


# --- launchd ----------------------------------------------------------------------------------------------


@pytest.fixture
def agent(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("llmsup.cli.service.commands.usual", lambda: "launchd")
    monkeypatch.setattr(launchctl, "_EVERY", 0.01)
    return here / "Library/LaunchAgents/local.llmsup.plist"


@pytest.fixture
def tool(here: Path) -> Tool:
    tool = Tool(here.parent / "tools", "launchctl")
    tool.answer("print|113|Could not find service")
    return tool


def test_an_agent(agent: Path, tool: Tool, here: Path) -> None:
    """Bootstrapped into the login session; the log's directory is made."""
    domain = f"gui/{os.getuid()}"
    done = run("install")
    assert done.exit_code == 0, done.output
    assert plistlib.loads(agent.read_bytes())["StandardErrorPath"] == str(here / "Library/Logs/llmsup.log")
    assert (here / "Library/Logs").is_dir()
    assert tool.asked == [f"enable {domain}/local.llmsup", f"bootstrap {domain} {agent}"]
    assert "tail -f" in done.stdout
    assert "launchd: not loaded" in run("status").stdout
    tool.answer("print|113|Could not find service")
    assert run("uninstall").exit_code == 0
    assert tool.asked == [f"print {domain}/local.llmsup"]
    assert not agent.exists()


@pytest.mark.slow
def test_an_agent_that_runs_is_booted_out_first(agent: Path, tool: Tool) -> None:
    """And waited for. One that launchd does not let go of leaves everything as it is."""
    run("install")
    tool.answer("print|0|\tstate = running", "bootout|5|Input/output error")
    again = run("install")
    assert again.exit_code == 1
    assert "bootout" in again.stderr
    assert "failed: Input/output error" in again.stderr
    assert f"launchctl bootstrap gui/{os.getuid()} {agent}" in again.stderr
    assert not [line for line in tool.asked if line.startswith("bootstrap")]
    assert run("uninstall").exit_code == 1
    assert agent.exists()
    assert "launchd: running\n" in run("status").stdout


def test_a_boot_out_that_takes_its_time(agent: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """launchctl says EINPROGRESS; we look until it is gone."""
    run("install")
    tool.answer("print|0|state = running", "bootout|36|Operation now in progress")
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if looks.count(launchctl._EVERY) == 3:  # subprocess sleeps, too
            tool.answer("print|113|Could not find service")

    monkeypatch.setattr("time.sleep", sleep)
    assert run("uninstall").exit_code == 0
    assert looks.count(launchctl._EVERY) == 3
    assert not agent.exists()


def test_without_launchctl(agent: Path) -> None:
    """As without systemctl."""
    done = run("install")
    assert done.exit_code == 1
    assert f"type: launchctl bootstrap gui/{os.getuid()} {agent}" in done.stderr
    assert agent.exists()
    assert run("uninstall").exit_code == 0
    assert not agent.exists()


def test_print_for_the_other_system(here: Path) -> None:
    """Either file can be looked at anywhere."""
    assert plistlib.loads(run("print", "--for", "launchd").stdout.encode())["Label"] == "local.llmsup"
    assert "\nType=notify\n" in run("print", "--for", "systemd").stdout
    assert run("print", "--for", "upstart").exit_code == 2
    assert os.listdir(here) == []
