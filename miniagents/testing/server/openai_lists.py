"""OpenAI's embeddings and its list of models."""

import base64
import struct
from typing import Any

from miniagents.testing.server.replies import Failure, words


def embeddings(body: dict[str, Any]) -> dict[str, Any] | Failure:
    """One vector per input; equal texts have equal vectors, `dimensions` numbers long (4 if not told)."""
    inputs: Any = body.get("input") or []
    texts: list[Any] = [inputs] if isinstance(inputs, str) else inputs
    if not texts or not all(isinstance(text, str) and text for text in texts):
        return Failure(400, "'$.input' is invalid.", "invalid_request_error", None, "input")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _encoded(vector_of(text, body.get("dimensions") or 4), body),
        }
        for index, text in enumerate(texts)
    ]
    used = sum(len(words(text)) for text in texts)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": body.get("model", ""), "usage": usage}


def vector_of(text: str, dimensions: int = 4) -> list[float]:
    """The vector that the server gives for a text: its length, then halves of it. Exact in 32 bits."""
    return [len(text) / 2**power for power in range(dimensions)]


def _encoded(vector: list[float], body: dict[str, Any]) -> list[float] | str:
    if body.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def models(names: list[str]) -> dict[str, Any]:
    """The list of models."""
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "loopback"} for name in names]
    return {"object": "list", "data": data}
