"""The bundled engine's process: llama.cpp's own server out of xllamacpp, started with llama-server's flags.

It does not know who started it: `python -m llmsup.engines.bundled.process --model M.gguf --host /…/x.sock` works by
hand too.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import NoReturn

from .flags import FLAGS, TABLE, Flag, apply
from .values import expected

PROGRAM = "llmsup bundled engine"

Settings = list[tuple[str, Flag, object]]


class UsageError(Exception):
    """The command line can't be followed; the message is one line."""


def read(words: Iterable[str]) -> Settings:
    """Read a command line into flags and their values, in their order.

    Raises:
        UsageError: A flag is unknown, or has no value or a wrong one, or --model is missing.
    """
    settings: Settings = []
    rest = iter(words)
    for word in rest:
        flag = TABLE.get(word.replace("_", "-"))  # llama-server takes both
        if flag is None:
            near = difflib.get_close_matches(word, FLAGS, n=1)
            raise UsageError(f"unknown flag {word}" + (f", did you mean {near[0]}?" if near else ""))
        if flag.read is None:
            settings.append((word, flag, flag.alone))
            continue
        value = next(rest, None)
        if value is None:
            raise UsageError(f"{word} wants a value")
        try:
            settings.append((word, flag, flag.read(value)))
        except ValueError:
            raise UsageError(f"{word} {value}: not {expected(flag.read)}") from None
    if not any(flag == TABLE["--model"] for _, flag, _ in settings):
        raise UsageError("--model is missing")
    return settings


def main(words: Sequence[str]) -> NoReturn:
    """Serve until a signal comes. Exit codes: 1 it failed, 2 the command line is wrong."""
    try:
        settings = read(words)
    except UsageError as error:
        _leave(2, str(error))
    # The default actions end the process at once, whatever the engine is busy with; a handler of Python's would
    # wait until the engine lets Python run.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        import xllamacpp
    except ImportError as error:
        _leave(1, f"{error}; install it with: pip install 'llmsup[engine]'")
    params = xllamacpp.CommonParams()
    params.n_parallel = -1  # as llama-server: as many slots as it thinks fit, in one unified cache
    for word, flag, value in settings:
        try:
            apply(xllamacpp, params, flag, value)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            _leave(2, f"{word}: this xllamacpp doesn't take it: {error}")
    if os.environ.get("LLMSUP_STDIN_GUARD") == "1":
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        # It binds first and answers 503 while it loads. It holds the GIL until the model is loaded, so no Python
        # runs meanwhile, our thread included; its HTTP threads are C++ and need none. The name keeps it alive.
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        _leave(1, str(error))  # the reason is in the lines above it, which the engine writes itself
    print(f"{PROGRAM}: listening on {server.listening_address}", file=sys.stderr, flush=True)
    while True:
        signal.pause()


def _end_with_stdin() -> NoReturn:
    """End when the other end of our standard input is gone: a bonus against orphans, beside the guard."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _leave(code: int, message: str) -> NoReturn:
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
