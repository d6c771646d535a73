"""How many threads a model computes with, and how they wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from llmsup.config.schema import ModelSpec
from llmsup.engines.cores import PASSIVE, Share, share_of, usable_cores


def share(*, environ: Mapping[str, str] | None = None, platform: str = "linux", **settings: Any) -> Share:
    """The share of a model, on eight cores with company unless said otherwise."""
    cores, several = settings.pop("cores", 8), settings.pop("several", True)
    spec = ModelSpec(name="m", **settings)
    return share_of(spec, cores=cores, several=several, platform=platform, environ=environ or {})


@pytest.mark.parametrize(
    ("cores", "several", "expected"),
    [
        (8, False, Share(8)),
        (8, True, Share(4, PASSIVE)),
        (5, True, Share(2, PASSIVE)),
        (3, True, Share(1)),
        (2, True, Share(1)),
        (1, True, Share(1)),
        (1, False, Share(1)),
    ],
)
def test_a_share_of_the_cores(cores: int, several: bool, expected: Share) -> None:
    """All if it is alone, else half; one thread has no other to wait for."""
    assert share(cores=cores, several=several) == expected


@pytest.mark.parametrize("cores", range(2, 130))
def test_two_never_have_more_threads_than_there_are_cores(cores: int) -> None:
    threads = share(cores=cores).threads
    assert threads is not None
    assert cores - 1 <= 2 * threads <= cores


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_number_is_taken_as_it_is(platform: str) -> None:
    assert share(threads=6, platform=platform) == Share(6)


@pytest.mark.parametrize("several", [True, False])
def test_a_mac_engine_chooses_for_itself(several: bool) -> None:
    assert share(several=several, platform="darwin") == Share(None)


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_who_has_said_how_threads_wait_is_obeyed(name: str) -> None:
    """In the environment of llmsup, or in the model's `env`."""
    assert share(environ={name: "1"}) == share(env={name: "1"}) == Share(4)


def test_the_layers_on_a_gpu_change_nothing() -> None:
    """What doesn't fit onto it is computed on the cores."""
    assert share(n_gpu_layers=99) == share(n_gpu_layers=0) == share()


def test_cores_of_this_machine() -> None:
    assert usable_cores() >= 1
