"""Sends a request through OpenAI's SDK, and once more without what a server turns out not to know."""

import asyncio
import operator
import re
from collections.abc import AsyncGenerator, Callable, Container, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from miniagents.ext.llms._adapters.answers import RawResponse
from miniagents.ext.llms._common.parameters import for_sdk
from miniagents.ext.llms.llm_common import LLMAgent
from miniagents.ext.llms.model_events import ModelRequest

_REFUSED: Final = frozenset({400, 422})

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mend:
    """A way to ask that some servers refuse, and how to ask them instead.

    Attributes:
        refusal: what the words of such a server look like.
        mended: gives the parameters without it; None if they do not have it, or have it by the user's own wish, which
            its second argument tells: the names of the options that were given.
    """

    refusal: re.Pattern[str]
    mended: Callable[[Parameters, Container[str]], Parameters | None]


class _LearnedMends:
    """Which mends a server needs for a model, remembered as long as the event loop lives."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], list[Mend]]] = (
            WeakKeyDictionary()
        )

    def of(self, base_url: str, model: str) -> list[Mend]:
        """Give the list for this server and model; what is appended to it is remembered."""
        by_server = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        return by_server.setdefault((base_url, model), [])


_learned: Final = _LearnedMends()


def retries_of(agent: LLMAgent, request: ModelRequest) -> int | None:
    """Give how often the SDK tries again; None where the user handed over a client, and has told that one."""
    if request.is_sent_once:
        return 0
    is_told = getattr(agent, "async_client", None) is None or "max_retries" in agent.model_fields_set
    return request.max_retries if is_told else None


@asynccontextmanager
async def opened(
    client: Any,
    resource: str,
    parameters: Parameters,
    *,
    given: Container[str],
    mends: tuple[Mend, ...],
    max_retries: int | None,
) -> AsyncGenerator[RawResponse]:
    """Send the request to a resource of the client, such as `"chat.completions"`; the response is closed at the end.

    A refusal in the words of one of `mends` is answered by asking again, at most once for each; the mends are
    remembered, so that the next request to this server is right at once. `given` are the names of the options that the
    user gave; `max_retries` is None where the client knows how often to try.
    """
    if max_retries is not None and max_retries != client.max_retries:
        client = client.with_options(max_retries=max_retries)
    sender: Any = operator.attrgetter(resource)(client)
    needed = _learned.of(str(client.base_url), str(parameters.get("model")))
    for mend in needed:
        parameters = mend.mended(parameters, given) or parameters
    left = [mend for mend in mends if mend not in needed]
    async with AsyncExitStack() as closing_the_response:
        while True:
            opening = sender.with_streaming_response.create(**for_sdk(sender.create, parameters))
            try:
                response: RawResponse = await closing_the_response.enter_async_context(opening)
                break
            except Exception as error:
                mended = _mended(parameters, given, error, left, needed)
                if mended is None:
                    raise
                parameters = mended
        yield response


def _mended(
    parameters: Parameters, given: Container[str], error: Exception, left: list[Mend], needed: list[Mend]
) -> Parameters | None:
    if getattr(error, "status_code", None) not in _REFUSED:
        return None
    for mend in left:
        if mend.refusal.search(str(error)):
            mended = mend.mended(parameters, given)
            if mended is not None:
                left.remove(mend)
                needed.append(mend)
                return mended
    return None
