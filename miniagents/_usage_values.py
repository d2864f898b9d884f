"""What usage is counted in, and the limits that can be put on it; part of `miniagents.usage`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Never, cast

from miniagents.promising.ext.frozen import Frozen

Amount = int | Decimal
"""So many requests, tokens or tool calls, or so much money."""


class TokenUsage(Frozen):
    """What an answer cost, in tokens, counted alike for all providers. None where the provider did not say.

    Attributes:
        input_tokens: all of the prompt, with what was read from and written to the provider's cache.
        output_tokens: all of the answer, with the reasoning.
        cache_read_tokens: the part of `input_tokens` that came from the cache.
        cache_write_tokens: the part of `input_tokens` that was written to the cache.
        reasoning_tokens: the part of `output_tokens` that is reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


TOKEN_FIELDS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@dataclass(slots=True)
class UsageTotals:
    """What some work has used so far. It goes on growing while that work runs; `copy.copy(totals)` keeps a moment.

    Tokens and cost are what the providers have reported; what they did not report counts as 0, see `unknown`.
    """

    requests: int = 0
    """Requests that were sent to models."""
    tool_calls: int = 0
    """Calls of tools that models asked for."""
    input_tokens: int = 0
    """All of the prompts, with what was read from and written to the providers' caches."""
    output_tokens: int = 0
    """All of the answers, with the reasoning."""
    cache_read_tokens: int = 0
    """The part of `input_tokens` that came from caches."""
    cache_write_tokens: int = 0
    """The part of `input_tokens` that was written to caches."""
    reasoning_tokens: int = 0
    """The part of `output_tokens` that is reasoning."""
    cost: Decimal = field(default_factory=Decimal)
    """What the requests cost, as far as their price is known; 0 until it is."""
    unknown: int = 0
    """Requests that ended and whose usage never became known: none was reported, cancelled, failed in the middle."""

    @property
    def total_tokens(self) -> int:
        """`input_tokens` and `output_tokens` together."""
        return self.input_tokens + self.output_tokens


class ContextUsage:
    """What everything in one context has used since it was last activated, contexts inside it included."""

    __slots__ = ("by_agent", "by_model", "total")

    total: UsageTotals
    """All of it."""
    by_model: dict[str, UsageTotals]
    """The requests to each model, by its name."""
    by_agent: dict[str, UsageTotals]
    """The requests, and the tool calls, that each agent itself has made, by its alias."""

    def __init__(self) -> None:
        self.total = UsageTotals()
        self.by_model = {}
        self.by_agent = {}

    def __repr__(self) -> str:
        return f"ContextUsage(total={self.total}, by_model={self.by_model}, by_agent={self.by_agent})"


class Accounted:
    """What shows the usage of the work that fills it (for this package)."""

    __slots__ = ()

    usage: UsageTotals
    """Not set until somebody asks, or there is something to count: most of these never need it."""

    def usage_totals(self) -> UsageTotals:
        """Give the totals, the same object each time."""
        try:
            return self.usage
        except AttributeError:
            self.usage = UsageTotals()
            return self.usage


class UsageLimits(Frozen):
    """How much may be used: by a context, by all calls of a fork together, or by one call and all that it starts.

    Requests and tool calls are exact, also where many are made at once. Tokens and cost are known only when a provider
    reports them: once a limit is reached nothing new is sent, and when it is crossed, what is being answered is
    stopped. So what was being answered at that moment may go beyond the limit.

    Raises:
        TypeError, ValueError: a limit is no number, less than 0, or not named.
    """

    requests: int | None = None
    """How many requests may be sent to models; None: any number, as for all of these."""
    input_tokens: int | None = None
    """How many tokens all prompts together may have, those from caches included."""
    output_tokens: int | None = None
    """How many tokens all answers together may have, reasoning included."""
    total_tokens: int | None = None
    """How many tokens prompts and answers together may have."""
    cost: Decimal | None = None
    """How much all requests together may cost, in the currency of the prices."""
    tool_calls: int | None = None
    """How many calls of tools may be made."""

    def __init__(
        self,
        *unnamed: Never,
        requests: int | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        total_tokens: int | None = None,
        cost: Decimal | float | None = None,
        tool_calls: int | None = None,
        **unknown: Never,
    ) -> None:
        _refuse_unnamed(UsageLimits, unnamed, unknown)
        fields: dict[str, Any] = {
            "requests": _count(requests, "requests"),
            "input_tokens": _count(input_tokens, "input_tokens"),
            "output_tokens": _count(output_tokens, "output_tokens"),
            "total_tokens": _count(total_tokens, "total_tokens"),
            "cost": _money(cost, "cost"),
            "tool_calls": _count(tool_calls, "tool_calls"),
        }
        super().__init__(**fields)


LIMIT_NAMES = ("requests", "input_tokens", "output_tokens", "total_tokens", "cost", "tool_calls")


class RateLimit(Frozen):
    """How fast requests may be sent to each model. A request that is too early waits, in the order of arrival.

    Each model of each provider has a bucket of its own, which is full at first, holds what is allowed in one minute and
    fills evenly. So after a pause there may be a burst of one minute's worth.

    Raises:
        TypeError, ValueError: a limit is no number, not more than 0, or not named.
    """

    requests_per_minute: float | None = None
    """How many requests may be sent in a minute; None: any number, as for all of these."""
    tokens_per_minute: float | None = None
    """How many tokens, of prompts and answers together, may be used in a minute. A request is sent while any are left,
    and its real usage is taken out when it is known, so that later ones wait the longer."""
    concurrency: int | None = None
    """How many requests may be under way at the same time."""

    def __init__(
        self,
        *unnamed: Never,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        concurrency: int | None = None,
        **unknown: Never,
    ) -> None:
        _refuse_unnamed(RateLimit, unnamed, unknown)
        fields: dict[str, Any] = {
            "requests_per_minute": _rate(requests_per_minute, "requests_per_minute"),
            "tokens_per_minute": _rate(tokens_per_minute, "tokens_per_minute"),
            "concurrency": _concurrency(concurrency),
        }
        super().__init__(**fields)


# ---------------------------------------------------------------------------------------------------------- checks


def checked_usage_limits(value: object) -> UsageLimits | None:
    """Give the limits, or None.

    Raises:
        TypeError: it is something else.
    """
    if value is None or isinstance(value, UsageLimits):
        return value
    example = value if isinstance(value, int) and not isinstance(value, bool) else 100
    raise TypeError(
        f"`usage_limits` is a `UsageLimits`, not {value!r}. Write `usage_limits=UsageLimits(requests={example})`, or "
        "name another limit."
    )


def checked_rate_limit(value: object) -> RateLimit | None:
    """Give the limit, or None.

    Raises:
        TypeError: it is something else.
    """
    if value is None or isinstance(value, RateLimit):
        return value
    example = value if isinstance(value, int | float) and not isinstance(value, bool) else 60
    raise TypeError(
        f"`rate_limit` is a `RateLimit`, not {value!r}. Write `rate_limit=RateLimit(requests_per_minute={example})`, "
        "or name another limit."
    )


def _refuse_unnamed(kind: type[Frozen], unnamed: Sequence[object], unknown: Mapping[str, object]) -> None:
    called, names = kind.__name__, [name for name in kind.model_fields if name != "class_"]
    for value in unnamed:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        raise TypeError(
            f"`{called}` does not know what {value!r} is a limit of: write "
            f"`{called}({names[0]}={value if is_number else 100})`, or name another limit."
        )
    for name in unknown:
        # Loaded when somebody has made a mistake.
        from difflib import get_close_matches

        likely = get_close_matches(name, names, n=1)
        listed = ", ".join(f"`{known}`" for known in names)
        guess = f" Did you mean `{likely[0]}`?" if likely else ""
        raise TypeError(f"`{called}` has no limit `{name}`. It has {listed}.{guess}")


def as_money(value: Decimal | float) -> Decimal:
    """Give an amount of money; a `float` as it is written, not as the computer keeps it."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _count(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` of `UsageLimits` is a whole number, or `None` for no limit; not {value!r}.")
    if value < 0:
        raise ValueError(f"`{name}` of `UsageLimits` is 0 or more, or `None` for no limit; not {value!r}.")
    return value


def _money(value: Any, name: str) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"`{name}` of `UsageLimits` is a number, or `None` for no limit; not {value!r}.")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` of `UsageLimits` is 0 or more, or `None` for no limit; not {value!r}.")
    return as_money(cast("Decimal | float", value))


def _rate(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` of `RateLimit` is a number, or `None` for no limit; not {value!r}.")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"`{name}` of `RateLimit` is more than 0, or `None` for no limit; not {value!r}. To allow nothing at all, "
            "write `UsageLimits(requests=0)`."
        )
    return value


def _concurrency(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`concurrency` of `RateLimit` is a whole number, or `None` for no limit; not {value!r}.")
    if value < 1:
        raise ValueError(
            f"`concurrency` of `RateLimit` is 1 or more, or `None` for no limit; not {value!r}. To allow nothing at "
            "all, write `UsageLimits(requests=0)`."
        )
    return value
