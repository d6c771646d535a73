"""The bundled engine's process: llama.cpp's server as packaged by xllamacpp, started with llama-server's flags.

It also works by hand: `python -m llmsup.engines.bundled.process --model M.gguf --host /…/x.sock`.
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
from .parsers import expected

PROGRAM = "llmsup bundled engine"

Settings = list[tuple[str, Flag, object]]


class UsageError(Exception):
    """The command line is wrong; the message is one line."""


def read(words: Iterable[str]) -> Settings:
    """Parse a command line into flags and their values, in order.

    Raises:
        UsageError: A flag is unknown, lacks its value or has an invalid one, or --model is missing.
    """
    settings: Settings = []
    rest = iter(words)
    for word in rest:
        flag = TABLE.get(word.replace("_", "-"))  # llama-server accepts both
        if flag is None:
            near = difflib.get_close_matches(word, FLAGS, n=1)
            raise UsageError(f"unknown flag {word}" + (f", did you mean {near[0]}?" if near else ""))
        if flag.read is None:
            settings.append((word, flag, flag.alone))
            continue
        value = next(rest, None)
        if value is None:
            raise UsageError(f"{word} needs a value")
        try:
            settings.append((word, flag, flag.read(value)))
        except ValueError:
            raise UsageError(f"{word} {value}: not {expected(flag.read)}") from None
    if not any(flag == TABLE["--model"] for _, flag, _ in settings):
        raise UsageError("--model is missing")
    return settings


def main(words: Sequence[str]) -> NoReturn:
    """Serve until a signal arrives. Exit codes: 1 for a failure, 2 for a wrong command line."""
    if list(words) == ["--list-devices"]:
        _list_devices()
    try:
        settings = read(words)
    except UsageError as error:
        _leave(2, str(error))
    # The default actions end the process at once, whatever the engine is doing; a Python handler would only
    # run once the engine lets go of the GIL.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        import xllamacpp
    except ImportError as error:
        _leave(1, f"{error}; install it with: pip install 'llmsup[engine]'")
    params = xllamacpp.CommonParams()
    params.n_parallel = -1  # as in llama-server: it picks the number of slots, in one unified cache
    for word, flag, value in settings:
        try:
            apply(xllamacpp, params, flag, value)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            _leave(2, f"{word}: this xllamacpp doesn't take it: {error}")
    if os.environ.get("LLMSUP_STDIN_GUARD") == "1":
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        # It binds first and answers 503 while it loads. It holds the GIL until the model is loaded, so no Python
        # code runs until then, our thread included; its HTTP threads are C++. The variable keeps it alive.
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        _leave(1, str(error))  # the engine has already logged the reason
    print(f"{PROGRAM}: listening on {server.listening_address}", file=sys.stderr, flush=True)
    while True:
        signal.pause()


def _list_devices() -> NoReturn:
    """Print the devices as llama-server does (llama.cpp common/arg.cpp): all but the CPU."""
    try:
        import xllamacpp
    except ImportError as error:
        _leave(1, f"{error}; install it with: pip install 'llmsup[engine]'")
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    print("Available devices:")
    for device in xllamacpp.get_device_info():
        if device["type"] != cpu:
            total, free = (device[f"memory_{what}"] // 1024**2 for what in ("total", "free"))
            print(f"  {device['name']}: {device['description']} ({total} MiB, {free} MiB free)")
    sys.exit(0)


def _end_with_stdin() -> NoReturn:
    """Exit when the other end of our standard input is gone: an extra protection against orphans, besides the guard."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _leave(code: int, message: str) -> NoReturn:
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
