"""What is tried before a service is installed, so that it is not started in vain, again and again.

It does not know the managers.
"""

from __future__ import annotations

import os

from ...errors import SetupError
from ...process.programs import ProgramFailed, run_now
from .job import Job
from .tool import shown


def must_be_ourselves() -> None:
    """Find out whether we are root for somebody else: the files would be in the wrong hands. Raises SetupError."""
    if os.getuid() == 0 and "SUDO_USER" in os.environ:
        raise SetupError("this is root, by sudo, and the service is yours.", hint="Do it without sudo.")


def must_start(job: Job) -> None:
    """Start the service's program for its version, as the manager will: with nothing of this terminal's.

    Raises:
        SetupError: It does not start.
    """
    words = (*job.arguments[: job.arguments.index("llmsup") + 1], "--version")
    told = f"`{shown([words])}`"
    try:
        run_now(words, name=told, timeout=job.start, env={**job.environment, "HOME": job.home}, cwd=job.home)
    except ProgramFailed as failed:
        if failed.exit_code is None:
            raise SetupError(failed.message) from None
        said = (failed.output.strip().splitlines() or [f"exit code {failed.exit_code}"])[-1]
        raise SetupError(
            f"{told} does not work outside of this terminal: {said}.",
            hint=f"Install llmsup for that Python: {job.arguments[0]} -m pip install llmsup",
        ) from None


def must_be_free(listen: str) -> None:
    """Find out whether a server runs already, in a terminal, say: the service would be started in vain, again and
    again. Raises SetupError.
    """
    from ...web.server import listen as bind

    for listener in bind(listen):
        listener.close()
