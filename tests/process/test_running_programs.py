"""Which programs run, by name: processes are made up, but for those that the test itself starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from llmsup.process.running_programs import ANEW, RunningPrograms, _named, is_ours, names_of


class Machine:
    """A machine's processes, by pid, and how often each was looked at."""

    def __init__(self, **names: str) -> None:
        self.names = {int(pid[1:]): name for pid, name in names.items()}
        self.looks: list[int] = []

    def named(self, pid: int) -> tuple[str, ...]:
        self.looks.append(pid)
        return (self.names[pid],)

    def running(self, *ours: int) -> RunningPrograms:
        return RunningPrograms(lambda: list(self.names), self.named, lambda pid: pid in ours)


def test_names_are_found_as_people_write_them() -> None:
    running = Machine(p1="launchd", p2="Final Cut Pro", p3="Adobe Premiere Pro 2024").running()
    assert running.first(["final cut pro"]) == "Final Cut Pro"
    assert running.first(["Final Cut Pro.app"]) == "Final Cut Pro"
    assert running.first(["Blender", "Adobe Premiere Pro*"]) == "Adobe Premiere Pro 2024"
    assert running.first(["Final Cut"]) == ""
    assert running.first([]) == ""


def test_what_llmsup_started_does_not_count() -> None:
    """An engine called like a program to make way for would be unloaded, loaded, unloaded …"""
    assert Machine(p1="llama-server").running(1).first(["llama-server"]) == ""
    assert Machine(p1="llama-server", p2="llama-server").running(1).first(["llama-server"]) == "llama-server"


def test_each_is_looked_at_twice() -> None:
    """A new process is still called like the one that it was forked from; one that is known stays what it is."""
    machine = Machine(p1="zsh")
    running = machine.running()
    assert running.first(["blender"]) == ""
    machine.names[1] = "blender"
    assert running.first(["blender"]) == "blender"
    running.first(["blender"])
    assert machine.looks == [1, 1]
    del machine.names[1]
    assert running.first(["blender"]) == ""


def test_everything_is_looked_at_again_now_and_then() -> None:
    machine = Machine(p1="zsh")
    running = machine.running()
    for _ in range(ANEW):
        running.first(["blender"])
    machine.names[1] = "blender"
    assert running.first(["blender"]) == "blender"


def test_an_app_is_its_own_program_not_its_helpers() -> None:
    """The paths are a Mac's."""
    cut = "/Applications/Final Cut Pro.app/Contents/MacOS/Final Cut Pro"
    assert "Final Cut Pro" in list(_named("Final Cut Pro", cut))
    code = "/Applications/Visual Studio Code.app/Contents/MacOS/Electron"
    assert next(_named("Electron", code)) == "Visual Studio Code"
    inside = "/Applications/Chrome.app/Contents/Frameworks/X.framework/Helpers"
    helper = f"{inside}/Chrome Helper.app/Contents/MacOS/Chrome Helper"
    assert set(_named("Chrome Helper", helper)) == {"Chrome Helper"}
    daemon = "/Applications/Final Cut Pro.app/Contents/Library/LoginItems/agent"
    assert "Final Cut Pro" not in set(_named("agent", daemon))


def test_a_real_one(tmp_path: Path) -> None:
    """Found while it runs, not once it has ended, though nobody has waited for it yet."""
    program = tmp_path / "a program to make way for"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    process = subprocess.Popen([program, "600"])
    try:
        running = RunningPrograms(ours=lambda pid: False)
        assert running.first(["A program to make WAY for"]) == program.name
        assert RunningPrograms().first([program.name]) == "", "we have started it"
        assert is_ours(process.pid)
        assert is_ours(os.getpid())
        assert not is_ours(1)
    finally:
        process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert names_of(process.pid) == ()
    process.wait()
    assert names_of(process.pid) == ()
