"""What an answer cost, in US dollars, by the price list of the package `genai-prices` (extra `prices`)."""

import importlib
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from miniagents.errors import MissingExtraError
from miniagents.usage import TokenUsage, cost_is_limited

_logger = logging.getLogger("miniagents")

# Whose prices apply, by the `provider` of a model agent: the names of the list, and our own names for the same.
_SELLERS: Final[Mapping[str, str]] = {
    **{
        name: name
        for name in (
            "anthropic", "avian", "aws", "azure", "cohere", "deepseek", "fireworks", "google", "groq", "mistral",
            "novita", "openai", "openrouter", "perplexity", "together", "x-ai",
        )
    },
    "azure-openai": "azure",
    "bedrock": "aws",
    "bedrock-anthropic": "aws",
    "gemini": "google",
    "vertex-anthropic": "google",
}  # fmt: skip


def cost_of(provider: str, model: str, usage: TokenUsage) -> float | None:
    """Give what an answer with this usage cost, in US dollars.

    None if that is not known: the package is not installed, its list does not have the model, or the provider did not
    report the tokens. It never raises. The package is imported when it is needed for the first time, which takes a
    fraction of a second; for a provider that nobody pays it never is.
    """
    seller = _SELLERS.get(provider)
    if seller is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    price_list = _price_list()
    if price_list is None:
        return None
    try:
        counted = price_list.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        return float(price_list.calc_price(counted, model, provider_id=seller).total_price)
    except LookupError:
        return None
    # An answer must not be lost because its price cannot be found.
    except Exception as error:  # noqa: BLE001
        _logger.debug("No price for %s of %s: %s", model, provider, error)
        return None


def check_prices(provider: str) -> None:
    """Refuse to ask a provider that is to be paid if what is paid is limited here and cannot be known.

    Raises:
        MissingExtraError: the package is not installed.
    """
    if provider in _SELLERS and cost_is_limited() and find_spec("genai_prices") is None:
        raise MissingExtraError(package="genai-prices", extra="prices", purpose="`UsageLimits(cost=...)`")


_loaded: list[Any] = []


def _price_list() -> Any:
    """Give the package, or None where it is missing; both are found out once."""
    if not _loaded:
        try:
            _loaded.append(importlib.import_module("genai_prices"))
        except ImportError:
            _loaded.append(None)
    return _loaded[0]
