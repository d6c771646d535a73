"""[peers.NAME]: what is read, and what is told of one that is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from configs import parse

from llmsup.config.schema import PeerSpec
from llmsup.errors import ConfigError

FINGERPRINT = "sha256:" + "0f" * 32


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})
    return [line.replace(" @ f: ", " @ ") for line in caught.value.mistakes]


def test_an_address_is_enough() -> None:
    config = parse("[peers.studio]\nurl = 'http://studio.local:5005'", "f", {})
    assert config.peers == {"studio": PeerSpec(name="studio", url="http://studio.local:5005")}
    studio = config.peers["studio"]
    assert (studio.models, studio.priority, studio.key, studio.mac) == (("*",), "normal", "", "")
    assert float(studio.wake_timeout) == 120


def test_all_of_it() -> None:
    text = f"""
    [peers.studio]
    url = "https://studio.local/llm"
    key = "${{env:STUDIO_KEY}}"
    models = ["qwen*"]
    priority = "low"
    fingerprint = "{FINGERPRINT}"
    mac = "A4-83-E7-01-02-03"
    wake_timeout = "1m"
    """
    config = parse(text, "f", {"STUDIO_KEY": "sesame"})
    assert config.peers["studio"] == PeerSpec(
        name="studio",
        url="https://studio.local/llm",
        key="sesame",
        models=("qwen*",),
        priority="low",
        fingerprint=FINGERPRINT,
        mac="A4-83-E7-01-02-03",
        wake_timeout=60,  # type: ignore[arg-type]  # a number of seconds
    )
    assert config.secret_variables == {"STUDIO_KEY"}
    assert "sesame" not in repr(config)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[peers.a]", "a peer needs 'url', its address: \"http://studio.local:5005\" @ peers.a"),
        (
            "[peers.'a/b']\nurl = 'http://x'",
            "a peer's name can't contain '/', ':' or spaces: its models are called NAME/MODEL",
        ),
        (
            "[peers.a]\nurl = 'http://x'\nca = '/x.pem'",
            "'ca' is about certificates, and 'url' doesn't begin with https://",
        ),
        (f"[peers.a]\nurl = 'http://x'\nfingerprint = '{FINGERPRINT}'", "'fingerprint' is about certificates"),
        (
            f"[peers.a]\nurl = 'https://x'\nca = '/x.pem'\nfingerprint = '{FINGERPRINT}'",
            "both 'ca' and 'fingerprint' are set: keep one",
        ),
        ("[peers.a]\nurl = 'https://x'\nfingerprint = 'AB:CD'", "'AB:CD' is not a certificate's fingerprint"),
        ("[peers.a]\nurl = 'http://x'\nmac = 'a4:83'", "'a4:83' is not a network card's address"),
        ("[peers.a]\nurl = 'http://x'\nmac = 'a4:83:e7-01:02:03'", "is not a network card's address"),
        ("[peers.a]\nurl = 'http://x'\nkey = 'a\tb'", "an API key can't"),
        ("[peers.a]\nurl = 'http://x'\nwake_timeout = 0", "must be more than 0"),
        ("[peers.a]\nurl = 'http://x'\nwake_timeout = 'never'", 'must end: "never" is not possible here'),
        (
            "[peers.a]\nurl = 'http://x'\n[peers.A]\nurl = 'http://y'",
            "'A' and 'a' are one name: upper and lower case are not told apart",
        ),
        ("[peers.here]\nurl = 'http://x'", "'here' is what lists call this machine: give the peer another name"),
        ("[peers.'my mac']\nurl = 'http://x'", "a peer's name can't contain '/', ':' or spaces"),
        (
            "[peers.a]\nurl = 'http://x'\nmodels = []",
            "'models' lets in none of its models: leave it out for all of them",
        ),
        ("[peers.a]\nurl = 'http://x'\nwake_timeout = '1m'", "set 'mac', too, or leave it out @ peers.a"),
        *(
            (f"[peers.a]\nurl = {url!r}", line)
            for url, line in {
                "studio.local": "'studio.local' doesn't begin with http:// or https://: write \"http://",
                "studio.local:5005": "'studio.local:5005' doesn't begin with http:// or https://",
                "ftp://x": "'ftp://x' doesn't begin with http:// or https://",
                "http://": "'http://' names no host",
                "http://x:0": "'http://x:0' has no port from 1 to 65535",
                "http://x:99999": "'http://x:99999' has no port from 1 to 65535",
                "http://x:port": "'http://x:port' has no port from 1 to 65535",
                "http://[x": "'http://[x' has no port from 1 to 65535, or no IPv6 address within [ ]",
                "http://a b": "'http://a b' holds spaces or control characters",
                "http://x:1/v1/": "'http://x:1/v1/' has the path that clients need: leave out /v1",
                "http://u:p@x": "can't have a name and a password in it; a key has its own key, 'key'",
                "http://u:p/w@x": "can't have a name and a password in it",
                "u:p@x": "can't have a name and a password in it",
                "http://x?a=1": "can't have a query ('?') or a fragment ('#') in it",
            }.items()
        ),
    ],
)
def test_what_is_told_of_mistakes(text: str, line: str) -> None:
    (told,) = mistakes(text)
    assert line in told
    assert "u:p" not in told
    assert "a=1" not in told


def test_an_address_may_have_any_path() -> None:
    assert parse("[peers.a]\nurl = 'https://x/~me/@home'", "f", {}).peers["a"].url == "https://x/~me/@home"


@pytest.mark.parametrize(
    "written",
    [
        FINGERPRINT.upper(),
        FINGERPRINT.removeprefix("sha256:"),
        ":".join(["0F"] * 32),
        "sha256 Fingerprint=" + ":".join(["0F"] * 32),  # OpenSSL 3
        "SHA256 Fingerprint=" + ":".join(["0F"] * 32),  # OpenSSL 1.1, LibreSSL
        "sha256 fingerprint=" + "0f" * 32 + "\n",
    ],
)
def test_a_fingerprint_as_tools_print_it(written: str) -> None:
    config = parse(f"[peers.a]\nurl = 'https://x'\nfingerprint = {json.dumps(written)}", "f", {})
    assert config.peers["a"].fingerprint == FINGERPRINT


def test_the_line_in_the_docs_prints_what_the_config_wants() -> None:
    docs = (Path(__file__).parents[2] / "docs/peers.md").read_text()
    (line,) = (line for line in docs.splitlines() if line.strip().startswith("openssl x509"))
    printed = f"sha256 Fingerprint={':'.join(['0F'] * 32)}\n"  # by OpenSSL 3, which not every machine has
    after = ("/bin/sh", "-c", line.partition("|")[2])
    made = subprocess.run(after, input=printed, capture_output=True, text=True, check=True)
    assert made.stdout.strip() == FINGERPRINT
