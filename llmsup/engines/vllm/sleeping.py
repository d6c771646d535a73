"""How a vLLM sleeps (docs.vllm.ai, features/sleep_mode), and which of its paths are then no client's.

The requests for it exist only in its development mode, as do others that could do anything with the process.
"""

from __future__ import annotations

from ...config.schema import ModelSpec
from ..kind import Machine
from ..llama_server.flags import FlagSet
from ..sleep import HOST, NOTHING, Call, Sleep

FLAG = "--enable-sleep-mode"
DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}

_POST = "POST"
_ASLEEP = Call("GET", "/is_sleeping", says={"is_sleeping": True})
_AWAKE = Call("GET", "/is_sleeping", says={"is_sleeping": False})

SLEEP = Sleep(
    sleep={level: (Call(_POST, f"/sleep?level={level}"), _ASLEEP) for level in (HOST, NOTHING)},
    wake={
        HOST: (Call(_POST, "/wake_up"), _AWAKE),
        # Without the second, answers are made from memory that holds nothing (vLLM's issues 16564 and 29341).
        NOTHING: (
            Call(_POST, "/wake_up?tags=weights"),
            Call(_POST, "/collective_rpc", b'{"method":"reload_weights"}'),
            Call(_POST, "/wake_up?tags=kv_cache"),
            _AWAKE,
        ),
    },
)

OPEN_PATHS = (
    *("/v1/*", "/v2/*", "/inference/*", "/health", "/ping", "/version", "/load", "/metrics"),
    *("/tokenize", "/detokenize", "/pooling", "/classify", "/score", "/rerank", "/invocations"),
    *("/docs", "/openapi.json", "/is_sleeping"),
)
"""What is served without the development mode, too."""


def can_sleep(spec: ModelSpec, build: FlagSet, machine: Machine, *, private: bool) -> tuple[bool, str]:
    """Tell whether a model is started so that it can sleep; if it should and can't, why not, a clause.

    By itself it is only where a device has memory of its own to give back, and where nobody else can reach what its
    development mode opens.

    Args:
        private: It listens on a socket that only we can reach.
    """
    if spec.sleep == 0:
        return False, ""
    if spec.sleep == "auto":
        return bool(FLAG in build.flags and private and machine.device_sizes()), ""
    if build.flags and FLAG not in build.flags:
        return False, f"sleep: {build.name} has no {FLAG}, so it can't sleep"
    return True, ""
