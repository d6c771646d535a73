"""The command line of the bundled engine, which answers to llama-server's flags.

It does not know whether xllamacpp is installed, nor where the model was found.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ...config.schema import ModelSpec
from ..address import UnixAddress
from ..launch import Launch
from ..llama_server.command_line import CHILD_MODE, words_of
from ..llama_server.flags import Dialect
from .flags import FLAGS, VALUED

NAME = "bundled"
PROGRAM = (sys.executable, "-m", "llmsup.engines.bundled.process")
DIALECT = Dialect(FLAGS, "the bundled engine", VALUED)


def launch(spec: ModelSpec, *, model: Path, socket: Path, threads: int | None) -> Launch:
    """The bundled engine for one model.

    Raises:
        SetupError: The model's `args` have a flag that is ours or unknown, or the config asks for what this engine
            can't be told.
    """
    words, body, corrected = words_of(spec, DIALECT, model, socket, threads, alias=spec.name)
    return Launch(
        engine=NAME,
        argv=(*PROGRAM, *words),
        env={**spec.env, **CHILD_MODE, "LLMSUP_STDIN_GUARD": "1"},
        address=UnixAddress(socket),
        tells_progress=True,  # it is llama.cpp's own server, with the same child mode
        body_defaults=body,
        corrections=corrected.told,
    )
