"""An OpenAI-compatible app on Ray Serve that streams, in vLLM's place: what llmsup needs of one behind it.

    pip install "ray[serve]"
    serve run --address … ray_serve:app          # or, on one machine: python ray_serve.py 8000

Its words are made up. With vLLM it is `ray.serve.llm`'s `build_openai_app`; docs/scale.md has its few lines.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import ray
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from ray import serve

NAME = "tiny"
api = FastAPI()


@serve.deployment(num_replicas=2, max_ongoing_requests=8, graceful_shutdown_timeout_s=600)
@serve.ingress(api)
class Tiny:
    """One replica."""

    @api.get("/health")
    async def health(self) -> dict[str, str]:
        """Ray Serve's own is /-/healthz; llmsup asks this one, as vLLM has it."""
        return {"status": "ok"}

    @api.get("/v1/models")
    async def models(self) -> dict[str, Any]:
        """What it has."""
        return {"object": "list", "data": [{"id": NAME, "object": "model", "owned_by": "ray"}]}

    @api.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Response:
        """Count to `max_tokens`, ten a second."""
        asked = await request.json()
        words = [f"{number} " for number in range(asked.get("max_tokens") or 20)]
        if asked.get("stream"):
            return StreamingResponse(self._stream(words), media_type="text/event-stream")
        await asyncio.sleep(len(words) / 10)
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({"object": "chat.completion", "model": NAME, "choices": [choice]})

    async def _stream(self, words: list[str]) -> AsyncIterator[str]:
        try:
            for word in words:
                await asyncio.sleep(0.1)
                choice = {"index": 0, "delta": {"content": word}}
                event = {"object": "chat.completion.chunk", "model": NAME, "choices": [choice]}
                yield f"data: {json.dumps(event)}\n\n"
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            print("the client has left", flush=True)
            raise


app = Tiny.bind()

if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(app, blocking=True)
