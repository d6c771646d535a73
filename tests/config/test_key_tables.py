"""[keys.NAME]: what is read, and what is told of one that is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from configs import parse

from llmsup.config import KeySpec
from llmsup.config.keys import PREFIX, hash_of, new_key
from llmsup.errors import ConfigError

HASH = hash_of("sk-1")


def mistakes(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", environ or {})
    return [line.replace(" @ f: ", " @ ") for line in caught.value.mistakes]


def test_a_key_may_ask_all_models_and_nothing_else() -> None:
    """Unless its table says otherwise."""
    config = parse(f"keys.laptop.hash = '{HASH}'", "f", {})
    assert config.keys == {"laptop": KeySpec(name="laptop", hash=HASH)}
    key = config.keys["laptop"]
    assert (key.models, key.admin, key.requests_per_minute, key.max_in_flight) == (("*",), False, 0, 0)
    assert config.wants_key
    assert not parse("", "f", {}).wants_key


def test_all_of_it() -> None:
    table = f"hash = '{HASH}'\nmodels = ['qwen*', 'llama*']\nadmin = true\nrequests_per_minute = 60\nmax_in_flight = 2"
    key = parse(f"[keys.'my laptop']\n{table}", "f", {}).keys["my laptop"]
    assert key == KeySpec(
        name="my laptop",
        hash=HASH,
        models=("qwen*", "llama*"),
        admin=True,
        requests_per_minute=60,
        max_in_flight=2,
    )


def test_a_key_in_a_variable() -> None:
    """Only its hash is kept, and no engine gets the variable."""
    config = parse("keys.ci.env = 'CI_KEY'", "f", {"CI_KEY": "sk-1"})
    assert config.keys["ci"].hash == HASH
    assert config.secret_variables == {"CI_KEY"}
    assert "sk-1" not in repr(config)


def test_a_models_env_is_still_a_table() -> None:
    """The same word means something else there."""
    config = parse(f"[defaults]\nenv = {{ A = '1' }}\n[keys.a]\nhash = '{HASH}'", "f", {})
    assert config.defaults.env == {"A": "1"}
    assert mistakes("defaults.env = 'A'")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keys.a.hash = 'sk-1'", "it is not the hash of a key"),
        (f"keys.a.hash = '{HASH.upper()}'", "it is not the hash of a key"),
        (f"keys.a.hash = '{HASH[7:]}'", "it is not the hash of a key"),
        ("keys.a.env = '$CI_KEY'", "it is not the name of an environment variable"),
        ("keys.a.env = 'CI_KEY'", "environment variable 'CI_KEY' is not set @ keys.a.env"),
        ("keys.a.env = 'EMPTY'", "environment variable 'EMPTY': an API key can't be empty"),
        ("keys.a.env = { CI_KEY = 'x' }", "expected a string, got a table @ keys.a.env"),
        ("[keys.a]", "a key needs 'hash' (`llmsup key new a` makes one) or 'env' @ keys.a"),
        (f"[keys.a]\nhash = '{HASH}'\nenv = 'SET'", "both 'hash' and 'env' are set: keep one @ keys.a"),
        (f"keys.a.hash = '{HASH}'\nkeys.b.hash = '{HASH}'", "it is the same key as in keys.a @ keys.b"),
        (
            f"server.api_keys = ['sk-1']\nkeys.a.hash = '{HASH}'",
            "it is the same key as in server.api_keys, whose keys may do everything @ keys.a",
        ),
        (f"keys.a.hash = '{HASH}'\nkeys.b.env = 'SET'", "it is the same key as in keys.a @ keys.b"),
        (f"keys.api_keys.hash = '{HASH}'", "no key can be called 'api_keys'"),
        (f"keys.' a'.hash = '{HASH}'", "' a' starts or ends with a space"),
        (f"[keys.a]\nhash = '{HASH}'\nmodel = 'x'", "unknown key 'model' (did you mean 'models'?) @ keys.a"),
        (f"[keys.a]\nhash = '{HASH}'\nmodels = 'x'", "expected a list"),
        (f"[keys.a]\nhash = '{HASH}'\nmodels = ['']", "a name can't be empty @ keys.a.models"),
        (f"[keys.a]\nhash = '{HASH}'\nrequests_per_minute = -1", "must be at least 0"),
        (f"[keys.a]\nhash = '{HASH}'\nmax_in_flight = 0.5", "expected a whole number"),
        ("keys = ['a']", "expected a table"),
        ("keys.a = 'x'", "expected a table"),
    ],
)
def test_what_is_wrong(text: str, told: str) -> None:
    """One mistake each; none repeats what may be a key."""
    (line,) = mistakes(text, {"SET": "sk-1", "EMPTY": ""})
    assert told in line
    assert "sk-1" not in line


def test_a_new_key_is_another_each_time_and_can_be_hashed_by_hand() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith(PREFIX)
        assert len(key) >= len(PREFIX) + 43  # 256 bits in base64
    assert hash_of("sk-1") == "sha256:" + hashlib.sha256(b"sk-1").hexdigest()
