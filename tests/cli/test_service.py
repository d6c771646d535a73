"""What stands in a service's file, read back by plistlib and by a reader of systemd's syntax."""

from __future__ import annotations

import math
import plistlib
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit_files import read_command, read_unit, read_words

from llmsup.cli.service.job import Job, longest_stop, make_job
from llmsup.cli.service.launchctl import read_print
from llmsup.cli.service.launchd import LABEL, plist
from llmsup.cli.service.manager import ServiceState
from llmsup.cli.service.place import MARK
from llmsup.cli.service.surroundings import search_path
from llmsup.cli.service.systemctl import read_show
from llmsup.cli.service.systemd import command_line, unit
from llmsup.config import Config, ModelSpec, Server, Settings
from llmsup.errors import ConfigError, SetupError
from llmsup.units import NEVER, Seconds

ODD = '/it\'s 100%h of "q" $HOME ${HOME} $$ é😀 \\n \\'
"""A directory that says something to every reader on the way."""


def job(*words: str, stop: Seconds = Seconds(60), **environment: str) -> Job:
    arguments = words or ("/usr/bin/python3", "-P", "-m", "llmsup", "serve")
    return Job(
        arguments,
        {"PATH": "/usr/bin:/bin", **environment},
        "/home/me",
        Server(listen="127.0.0.1:0"),
        Seconds(120),
        stop,
    )


# --- the two files ----------------------------------------------------------------------------------------


def test_the_plist() -> None:
    """Every key, read back."""
    text = plist(job(), "/home/me/Library/Logs/llmsup.log")
    assert plistlib.loads(text.encode()) == {
        "Label": LABEL,
        "ProgramArguments": ["/usr/bin/python3", "-P", "-m", "llmsup", "serve"],
        "EnvironmentVariables": {"PATH": "/usr/bin:/bin"},
        "WorkingDirectory": "/home/me",
        "RunAtLoad": True,
        "KeepAlive": True,
        "ProcessType": "Interactive",
        "ExitTimeOut": 60,
        "SoftResourceLimits": {"NumberOfFiles": 8192},
        "StandardOutPath": "/home/me/Library/Logs/llmsup.log",
        "StandardErrorPath": "/home/me/Library/Logs/llmsup.log",
    }
    assert f"<!-- {MARK} -->" in text
    assert "--" not in MARK  # it would end an XML comment


def test_a_stop_without_an_end() -> None:
    """Each manager has its own word for never."""
    endless = job(stop=NEVER)
    assert plistlib.loads(plist(endless, "/log").encode())["ExitTimeOut"] == 0
    assert read_unit(unit(endless))["Service"]["TimeoutStopSec"] == ["infinity"]


def test_the_unit() -> None:
    """Every key, read back; plain words are not quoted."""
    text = unit(job(stop=Seconds(59.5)))
    assert text.startswith(f"# {MARK}\n")
    sections = read_unit(text)
    assert sections.keys() == {"Unit", "Service", "Install"}
    assert sections["Install"] == {"WantedBy": ["default.target"]}
    assert sections["Service"] == {
        "Type": ["notify"],
        "ExecStart": ["/usr/bin/python3 -P -m llmsup serve"],
        "ExecReload": ['/bin/sh -c "kill -HUP $$MAINPID"'],
        "Environment": ["PATH=/usr/bin:/bin"],
        "Restart": ["on-failure"],
        "RestartSec": ["5"],
        "RestartPreventExitStatus": ["2"],
        "KillMode": ["mixed"],
        "OOMPolicy": ["continue"],
        "TimeoutStartSec": ["120"],
        "TimeoutStopSec": ["60"],
        "LimitNOFILE": ["8192"],
    }


WRITABLE = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), min_size=1)


@given(WRITABLE, WRITABLE)
@example(ODD, ODD)
@example("/plain", "$HOME")
@example("a=b", ";")
@example(" ", "\u2028")
def test_any_path_comes_through(program: str, argument: str) -> None:
    """The words and the values that were meant are what comes out on the other side, in both files."""
    meant = (f"/{program}", argument, "--config", argument)
    odd = job(*meant, VALUE=argument)
    service = read_unit(unit(odd))["Service"]
    (line,) = service["ExecStart"]
    words = read_command(line)
    if words[:3] == ["/bin/sh", "-c", 'exec "$0" "$@"']:
        words = words[3:]
    assert tuple(words) == meant
    assert [read_words(value) for value in service["Environment"]] == [["PATH=/usr/bin:/bin"], [f"VALUE={argument}"]]
    keys = plistlib.loads(plist(odd, argument).encode())
    assert tuple(keys["ProgramArguments"]) == meant
    assert keys["EnvironmentVariables"]["VALUE"] == keys["StandardOutPath"] == argument


def test_a_shell_starts_what_systemd_would_not(tmp_path: Path) -> None:
    """The shell's own words do what they shall: the program and its arguments, whatever is in them."""
    program = tmp_path / ODD.strip("/")
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    program.chmod(0o755)
    words = read_command(command_line((str(program), ODD, "$HOME")))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(program), ODD, "$HOME"]


def test_systemd_itself_finds_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one to ask; elsewhere our own reader must do."""
    odd = tmp_path / ODD.strip("/")
    odd.mkdir()
    python = odd / "python"
    python.symlink_to(sys.executable)
    for words in ((sys.executable, "serve"), (str(python), ODD)):
        file = tmp_path / "llmsup.service"
        file.write_text(unit(job(*words, stop=NEVER, VALUE=ODD)))
        assert read_command(read_unit(file.read_text())["Service"]["ExecStart"][0])[-2:] == list(words)
        if analyze := shutil.which("systemd-analyze"):
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
            done = subprocess.run([analyze, "verify", "--user", file], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


# --- the job ----------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my config.toml"
    path.write_text("server.shutdown_grace = '1m'\n[models.a]\ncommand = 'x ${PORT}'\nstop_grace = '40s'\n")
    return path


def test_the_job_is_what_serve_does_here(config: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Absolute paths; links stay; how long a stop may take is the config's."""
    monkeypatch.chdir(config.parent)
    link = config.with_name("link.toml")
    link.symlink_to(config)
    made = make_job("link.toml", (), {"PATH": "/a:rel::/usr/bin:/a", "OLLAMA_MODELS": "/o", "OTHER": "x"})
    assert made.arguments == (sys.executable, "-P", "-m", "llmsup", "serve", "--config", str(link))
    path = "/a:/usr/bin:/opt/homebrew/bin:/usr/local/bin:/bin:/usr/sbin:/sbin"
    assert made.environment == {"PATH": path, "OLLAMA_MODELS": "/o"}
    assert made.home == str(home)
    assert made.stop == Seconds(60 + 40 + 20)


def test_the_search_is_serves(config: Path) -> None:
    """$LLMSUP_CONFIG names one; where there is none, none is named: one that comes later is found by `serve`."""
    assert make_job(None, (), {"LLMSUP_CONFIG": str(config)}).arguments[-1] == str(config)
    assert make_job(None, (), {}).arguments[-1] == "serve"
    with pytest.raises(SetupError, match="There is no config at /none"):
        make_job("/none", (), {})


def test_a_variable_that_the_service_would_not_have(config: Path) -> None:
    """It is found out before anything is written; what is set by every manager is there."""
    config.write_text("server.api_keys = ['${env:KEY}', '${env:TOKEN}']\ncatalog.roots = ['${env:HOME}/m']\n")
    here = {"KEY": "k", "TOKEN": "t", "HOME": "/home/me"}
    with pytest.raises(SetupError, match=r"needs \$KEY, \$TOKEN, and .* Add --env KEY --env TOKEN to"):
        make_job(str(config), (), here)
    made = make_job(str(config), ("KEY", "TOKEN"), here)
    assert {**made.environment, "PATH": ""} == {"PATH": "", "KEY": "k", "TOKEN": "t"}
    assert "'k'" not in repr(made)
    with pytest.raises(ConfigError):
        make_job(str(config), (), {"KEY": "k", "HOME": "/home/me"})  # it isn't here either


def test_mistakes_in_the_config_come_all(config: Path) -> None:
    """As `check` tells them."""
    config.write_text("nonsense = 1\nserver.x = 1\n")
    with pytest.raises(ConfigError) as caught:
        make_job(str(config), (), {})
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("names", "match"),
    [(("A-B",), "not a variable's name"), (("",), "not a variable"), (("NONE",), "no such variable")],
)
def test_bad_variables(names: tuple[str, ...], match: str) -> None:
    """Named, with what to do."""
    with pytest.raises(SetupError, match=match):
        make_job(None, names, {})


@pytest.mark.parametrize("bad", ["\n", "\x1b", "\x7f", "\udcff", "\uffff"])
def test_what_can_not_be_written_is_refused(tmp_path: Path, bad: str) -> None:
    """In a path, with the character; a place on PATH is passed over."""
    assert unicodedata.category(bad) in ("Cc", "Cs", "Cn")
    assert search_path(f"/a{bad}:/b").split(":")[0] == "/b"
    with pytest.raises(SetupError, match=r"\$X, .* no service's file can hold"):
        make_job(None, ("X",), {"X": f"a{bad}"})
    config = tmp_path / f"a{bad}.toml"
    config.write_text("")
    with pytest.raises(SetupError, match="no service's file can hold"):
        make_job(str(config), (), {})


def test_the_longest_stop() -> None:
    """Engines stop at the same time, so the most patient model counts, or the defaults for those that are found."""
    found = Config(server=Server(shutdown_grace=Seconds(1)), defaults=Settings(stop_grace=Seconds(30)))
    assert longest_stop(found) == Seconds(1 + 30 + 20)
    told = Config(models={"a": ModelSpec(name="a", stop_grace=Seconds(90))}, server=Server(shutdown_grace=NEVER))
    assert math.isinf(longest_stop(told))


# --- what the managers say --------------------------------------------------------------------------------

PRINTED = """\
gui/501/local.llmsup = {
	active count = 1
	path = /Users/me/Library/LaunchAgents/local.llmsup.plist
	type = LaunchAgent
	state = running

	program = /opt/venv/bin/python
	environment = {
		PATH => /usr/bin
	}
	pid = 4711
	last exit code = 1
	spawn type = interactive (4)
	endpoints = {
		"x" = {
			state = active
		}
	}
}
"""
"""Made after what launchctl(1) shows of others' agents; its layout is not promised."""


def test_reading_launchctl() -> None:
    """The first of each counts; what isn't there is not made up."""
    assert read_print(PRINTED) == ServiceState(runs=True, text="running, pid 4711, last exit code 1")
    waits = "x = {\n\tstate = not running\n\tlast exit code = 78: EX_CONFIG\n}\n"
    assert read_print(waits) == ServiceState(runs=False, text="not running, last exit code 78: EX_CONFIG")
    assert read_print("") == ServiceState(runs=False, text="loaded")


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (
            "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=7\nUnitFileState=enabled\nStatusText=answers",
            ServiceState(runs=True, text="active (running), pid 7, answers"),
        ),
        (
            "ActiveState=failed\nSubState=failed\nMainPID=0\nResult=exit-code\nExecMainStatus=2\nUnitFileState=disabled",
            ServiceState(runs=False, text="failed (failed), exit-code, exit status 2, disabled at login"),
        ),
        ("LoadState=not-found\nActiveState=inactive\n", ServiceState(runs=False, text="not loaded")),
        (
            "ActiveState=activating\nSubState=start\nMainPID=7",
            ServiceState(runs=False, text="activating (start), pid 7"),
        ),
    ],
)
def test_reading_systemctl(said: str, state: ServiceState) -> None:
    """As `systemctl show` prints it, of which only these lines count."""
    assert read_show(f"Environment=A=b\n{said}\n") == state
