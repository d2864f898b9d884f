"""Puts an answer together again from the differences in which OpenAI's protocol streams it."""

from typing import Any, cast

# Sent once or repeated as they are; anything else that is a text arrives in pieces.
_NOT_IN_PIECES = frozenset({"id", "type", "role", "name", "index", "finish_reason", "object", "model", "format"})


class _Pieces(list[str]):
    """A text that is still growing; adding to a string would copy it with every piece."""


def merge_delta(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add `delta` to `whole`, in place: texts are continued, lists extended (by `index`, where items have one)."""
    for key, value in delta.items():
        if value is None:
            whole.setdefault(key, None)
        elif isinstance(value, str):
            _merge_text(whole, key, value)
        elif isinstance(value, dict):
            if not isinstance(whole.get(key), dict):
                whole[key] = {}
            merge_delta(whole[key], cast("dict[str, Any]", value))
        elif isinstance(value, list):
            if not isinstance(whole.get(key), list):
                whole[key] = []
            _merge_list(whole[key], cast("list[Any]", value))
        else:
            whole[key] = value


def _merge_text(whole: dict[str, Any], key: str, value: str) -> None:
    if key in _NOT_IN_PIECES:
        if value or not whole.get(key):
            whole[key] = value
        return
    pieces = whole.get(key)
    if not isinstance(pieces, _Pieces):
        pieces = whole[key] = _Pieces()
    pieces.append(value)


def _merge_list(whole: list[Any], items: list[Any]) -> None:
    for item in items:
        index = cast("dict[str, Any]", item).get("index") if isinstance(item, dict) else None
        if not isinstance(index, int):
            whole.append(item)
            continue
        # An item with an index makes all of them dicts; there are rarely more than a few.
        known = [cast("dict[str, Any]", merged) for merged in whole if isinstance(merged, dict)]
        same = next((merged for merged in known if merged.get("index") == index), None)
        if same is None:
            same = {}
            whole.append(same)
        merge_delta(same, cast("dict[str, Any]", item))


def finished(value: Any) -> Any:
    """`value` with every growing text joined."""
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {key: finished(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [finished(item) for item in cast("list[Any]", value)]
    return value
