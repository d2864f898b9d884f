"""What a dialog has used so far, in a few characters, and in a table. What is not known is `?`, never 0."""

from collections.abc import Iterator
from typing import Final

from miniagents.usage import ContextUsage, TokenUsage, UsageTotals

_UNKNOWN: Final = "?"


def usage_line(usage: ContextUsage, last: TokenUsage | None = None) -> str:
    """Give the totals, such as `in 1.2k  out 340  ~$0.004`, and those of the last answer; "" before any request.

    A `?` behind a number says that there is more, but not how much.
    """
    total = usage.total
    if not total.requests:
        return ""
    line = f"{_tokens(total)}  {_cost(total, usage)}"
    if last is None or total.requests == 1:
        return line
    return f"{line}   last: in {short(last.input_tokens)}  out {short(last.output_tokens)}"


def usage_table(usage: ContextUsage) -> Iterator[str]:
    """Give a line for each model, and one for all of them."""
    total = usage.total
    if not total.requests:
        yield "No model has been asked yet."
        return
    rows = [*usage.by_model.items(), ("all", total)] if len(usage.by_model) > 1 else [*usage.by_model.items()]
    width = max(len(name) for name, _ in rows)
    for name, totals in rows:
        requests = "1 request" if totals.requests == 1 else f"{totals.requests} requests"
        cost = _cost(totals, usage if totals is total else None)
        extra = [
            f"{short(count)} {what}"
            for count, what in (
                (totals.cache_read_tokens, "from the cache"),
                (totals.cache_write_tokens, "to the cache"),
                (totals.reasoning_tokens, "of reasoning"),
            )
            if count
        ]
        yield f"{name:<{width}}  {requests}  {_tokens(totals)}  {cost}{'  ' if extra else ''}{', '.join(extra)}"
    if total.tool_calls:
        yield f"Calls of tools: {total.tool_calls}."
    if total.unknown:
        yield f"? : the usage of {total.unknown} of {total.requests} requests was not reported, or they were stopped."
    if any(map(_is_unpriced, usage.by_model.values())):
        yield 'Prices come from the package `genai-prices` (`pip install "miniagents[prices]"`), as far as it has them.'


def short(count: int | None) -> str:
    """Give a number of tokens in few characters: `340`, `1.2k`, `3.4M`; `?` for None."""
    if count is None:
        return _UNKNOWN
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return str(count)


def _tokens(totals: UsageTotals) -> str:
    if totals.unknown >= totals.requests:
        return f"in {_UNKNOWN}  out {_UNKNOWN}"
    more = f"+{_UNKNOWN}" if totals.unknown else ""
    return f"in {short(totals.input_tokens)}{more}  out {short(totals.output_tokens)}{more}"


def _cost(totals: UsageTotals, usage: ContextUsage | None) -> str:
    if not totals.cost:
        return f"~${_UNKNOWN}"
    parts = [totals] if usage is None else usage.by_model.values()
    more = f"+{_UNKNOWN}" if totals.unknown or any(map(_is_unpriced, parts)) else ""
    places = 2 if totals.cost >= 1 else 3 if totals.cost >= 0.001 else 6
    return f"~${totals.cost:.{places}f}{more}"


def _is_unpriced(totals: UsageTotals) -> bool:
    return bool(totals.requests) and not totals.cost
