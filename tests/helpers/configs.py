"""Configs as llmsup reads them, with all kinds of engines that there are."""

from __future__ import annotations

from functools import partial

from llmsup import config
from llmsup.engines.kinds import KINDS

load = partial(config.load, engines=KINDS.words)
parse = partial(config.parse, engines=KINDS.words)
