"""Usage in the form in which it is stored: the fields that are not 0, as JSON."""

import json
from dataclasses import fields
from decimal import Decimal, InvalidOperation

from miniagents.usage import UsageTotals

_NAMES = tuple(field.name for field in fields(UsageTotals))


def encode_usage(usage: UsageTotals | None) -> str | None:
    """Give usage as JSON."""
    if usage is None:
        return None
    values = {name: getattr(usage, name) for name in _NAMES}
    return json.dumps({name: str(value) if name == "cost" else value for name, value in values.items() if value})


def decode_usage(stored: str | None) -> UsageTotals | None:
    """Give the usage of which `encode_usage` made `stored`.

    Raises:
        ValueError: it is no usage.
    """
    if stored is None:
        return None
    try:
        values = json.loads(stored)
        cost = Decimal(values.pop("cost", 0))
        usage = UsageTotals(cost=cost, **{name: int(value) for name, value in values.items()})
    except (InvalidOperation, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this is no usage: {stored!r}") from error
    if not cost.is_finite():
        raise ValueError(f"this is no usage: {stored!r}")
    return usage


def with_earlier(usage: UsageTotals | None, earlier: str | None) -> str | None:
    """Give usage as JSON, with what earlier attempts have used, which is JSON already."""
    if earlier is None:
        return encode_usage(usage)
    total = decode_usage(earlier)
    if total is not None:
        add_usage(total, usage)
    return encode_usage(total)


def add_usage(total: UsageTotals, more: UsageTotals | None, times: int = 1) -> None:
    """Add `more` to `total`, so many times."""
    if more is not None:
        for name in _NAMES:
            setattr(total, name, getattr(total, name) + getattr(more, name) * times)
