"""Another machine, as far as the network goes: a network of its own behind a cable, with an sshd of its own.

Files, users and memory are this machine's. Its loopback is not ours, so what listens there can't be reached but by ssh.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import frozen

PATIENCE = 30
"""Seconds after which something counts as hung."""


@frozen
class FarMachine:
    """One such machine.

    Attributes:
        ssh: What follows `ssh` to get there.
        pid: Of a process in its network.
        cable: Our end of the cable.
    """

    ssh: tuple[str, ...]
    pid: int
    cable: str

    def cut(self) -> None:
        """Pull the cable out."""
        _do("ip", "link", "set", self.cable, "down")


@contextmanager
def far_machine(folder: Path) -> Iterator[FarMachine]:
    """One that is there until the block is left. Needs root, for the cable."""
    if os.geteuid() != 0:
        pytest.fail("a network of its own with a cable to ours can only be made by root: run this test as root")
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.fail("this test needs an sshd: run tools/sshd")
    number = os.getpid() % 16384  # so that two test runs have two networks: 10.213.0.0/16 in pieces of four addresses
    network = f"10.213.{number // 64}.{number % 64 * 4}"
    here, there = (f"{network.rpartition('.')[0]}.{number % 64 * 4 + end}" for end in (1, 2))
    cable = f"llmsup{number}"
    with ExitStack() as ends:
        holder = ends.enter_context(_running("unshare", "--net", "--", "/bin/sh", "-c", "echo ready; read -r _"))
        assert holder.stdout is not None
        holder.stdout.readline()
        inside = ("nsenter", "--net", "--target", str(holder.pid), "--")
        _do("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        ends.callback(_do, "ip", "link", "del", cable)  # with its network it goes only some time after that
        _do("ip", "address", "add", f"{here}/30", "dev", cable)
        _do("ip", "link", "set", cable, "up")
        for words in (("address", "add", f"{there}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _do(*inside, "ip", *words)
        _do(*inside, "ip", "link", "set", "lo", "up")
        client = _keys(folder, there)
        Path("/run/sshd").mkdir(exist_ok=True)  # it wants one, and systemd makes it
        ends.enter_context(_running(*inside, sshd, "-D", "-e", "-f", str(folder / "sshd_config")))
        _until_it_answers(("ssh", *client, "true"))
        yield FarMachine(client, holder.pid, cable)


def _keys(folder: Path, address: str) -> tuple[str, ...]:
    """Make keys for both sides, and what they are told; returns what follows `ssh`."""
    for name in ("host", "user"):
        _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "known").write_text(f"{address} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress {address}:22\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "ClientAliveInterval 2\nClientAliveCountMax 2\n"
    )
    (folder / "ssh_config").write_text(
        f"Host box\n  HostName {address}\n  User root\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n"
    )
    return ("-F", str(folder / "ssh_config"), "box")


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _until_it_answers(words: tuple[str, ...]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (done := subprocess.run(words, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.05)


@contextmanager
def _running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
