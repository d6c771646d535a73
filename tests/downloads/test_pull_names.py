"""What people paste, and what it means."""

from __future__ import annotations

import pytest

from llmsup.downloads.name import HubName, OllamaName, understood
from llmsup.errors import BadRequest

REPO = "unsloth/Qwen3-4B-GGUF"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (REPO, HubName(REPO)),
        (f"hf.co/{REPO}", HubName(REPO)),
        (f" 'https://huggingface.co/{REPO}/' ", HubName(REPO)),
        (f"HF.co/{REPO}:latest", HubName(REPO)),
        (f"hf://{REPO}", HubName(REPO)),
        (f"hf.co/{REPO}:Q8_0", HubName(REPO, "Q8_0")),
        (f"{REPO}@q8_0", HubName(REPO, "q8_0")),
        (f"{REPO}:UD-Q4_K_XL", HubName(REPO, "UD-Q4_K_XL")),
        (f"{REPO}/Qwen3-4B-Q8_0.gguf", HubName(REPO, "Qwen3-4B-Q8_0.gguf")),
        (f"https://huggingface.co/{REPO}/tree/main", HubName(REPO)),
        (f"https://huggingface.co/{REPO}/tree/main/BF16", HubName(REPO, "BF16")),
        (f"https://huggingface.co/{REPO}/blob/main/a%20b.gguf", HubName(REPO, "a b.gguf")),
        (f"https://huggingface.co/{REPO}/resolve/v1/x.gguf?download=true", HubName(REPO, "x.gguf", "v1")),
        (f"https://huggingface.co/{REPO}/tree/refs%2Fpr%2F2", HubName(REPO, "", "refs/pr/2")),
        (f"https://huggingface.co/{REPO}?show_file_info=Qwen3-4B-Q8_0.gguf", HubName(REPO, "Qwen3-4B-Q8_0.gguf")),
        (f"https://huggingface.co/{REPO}?local-app=lmstudio#files", HubName(REPO)),
        (f"https://huggingface.co/{REPO}/discussions/3", HubName(REPO)),
        (f"https://huggingface.co/{REPO}.git", HubName(REPO)),
        (f"https://mirror:8080/{REPO}:Q8_0", HubName(REPO, "Q8_0")),
        ("llama3.2", OllamaName("llama3.2")),
        ("llama3.2:3b", OllamaName("llama3.2:3b")),
        ("library/llama3.2:3b", OllamaName("llama3.2:3b")),
        ("https://ollama.com/library/llama3.2:3b", OllamaName("llama3.2:3b")),
        ("ollama.com/someone/model:8b", OllamaName("someone/model:8b")),
        ("ollama://llama3.2", OllamaName("llama3.2")),
    ],
)
def test_a_name_is_understood(text: str, meant: HubName | OllamaName) -> None:
    assert understood(text, hub="mirror:8080") == meant


def test_to_ollamas_clients_a_name_without_a_host_is_ollamas() -> None:
    assert understood("someone/model:8b", plain="ollama") == OllamaName("someone/model:8b")
    assert understood(f"hf.co/{REPO}:Q8_0", plain="ollama") == HubName(REPO, "Q8_0")
    registry = "http://registry.local:5000/library/model:8b"
    assert understood(registry, plain="ollama") == OllamaName(registry)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not the name of a model"),
        ("ollama run llama3.2", "is not the name of a model"),
        ("https://example.com/org/repo", "example.com is neither the hub nor Ollama's library"),
        ("hf.co/org", "names no repository"),
        ("https://huggingface.co/datasets/org/data", "it is under datasets/"),
        ("hf.co/../etc", "'..' in"),
        ("hf.co/org/..", "'..' in"),
        ("hf.co/org/%2e%2e", "'..' in"),
        ("hf.co/org/a--b", "'a--b' in"),
        ("hf.co/or%2Fg/b", "'or/g' in"),
    ],
)
def test_what_is_no_name_is_told(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=r"hf\.co/ORG/REPO") as caught:
        understood(text)
    assert said in str(caught.value)
