"""`openai_embedding_agent`: texts in, vectors out."""

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from miniagents.ext.llms._common.faults import sdk_fault
from miniagents.ext.llms._common.parameters import for_sdk, thawed
from miniagents.ext.llms._common.secrets import secret_of
from miniagents.ext.llms._common.setting_checks import check_setting
from miniagents.ext.llms._openai.clients import OpenAIClient, openai_client
from miniagents.ext.llms.llm_common import TokenUsage
from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import miniagent
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import model_request


class EmbeddingMessage(Message):
    """A text (`content`) and its vector.

    Attributes:
        embedding: the vector.
        model: the model that made it.
        usage: a `TokenUsage` of the request; None on all but the last message of a batch, so that a sum over messages
            counts each request once.
        raw_usage: the provider's own count, None where `usage` is.
    """

    embedding: tuple[float, ...]
    model: str
    usage: TokenUsage | None = None
    raw_usage: Frozen | None = None


@miniagent
async def openai_embedding_agent(
    ctx: InteractionContext,
    model: str = "text-embedding-3-small",
    batch_mode: bool = False,  # noqa: FBT001, FBT002 - a setting, always given by name
    async_client: OpenAIClient | None = None,
    api_key: SecretStr | str | None = None,
    base_url: str | None = None,
    **api_parameters: Any,
) -> None:
    """Reply with one `EmbeddingMessage` for each message, in their order.

    Each message is sent by itself as soon as it is there, several at a time. With `batch_mode=True` all of them are
    waited for and sent in one request, which is cheaper for many short texts. No messages, no request and no replies.
    Client, key and errors are as with `OpenAIAgent`; any other keyword (`dimensions=`, `user=`, ...) is a parameter of
    the API.
    """
    connection = {"async_client": async_client, "api_key": api_key, "base_url": base_url}
    settings: dict[str, Any] = {**api_parameters, "model": model, **connection}
    for name, value in settings.items():
        check_setting("OPENAI_EMBEDDING_AGENT", name, value)
    if batch_mode:
        ctx.reply(_embed_together.inquire(ctx.message_promises, **settings))
        return
    async for message_promise in ctx.message_promises:
        ctx.reply(_embed_together.inquire(message_promise, **settings))


@miniagent(alias="OPENAI_EMBEDDING_REQUEST", durable=True)
async def _embed_together(
    ctx: InteractionContext,
    model: str,
    async_client: OpenAIClient | None = None,
    api_key: SecretStr | str | None = None,
    base_url: str | None = None,
    **api_parameters: Any,
) -> None:
    """Send all messages in one request and reply with their vectors."""
    texts = [str(message) for message in await ctx.message_promises]
    if not texts:
        return
    client = await openai_client(async_client, "OPENAI_EMBEDDING_AGENT", api_key=secret_of(api_key), base_url=base_url)
    embeddings: Any = client.embeddings
    parameters = {"model": model, "input": texts, **thawed(api_parameters)}
    async with model_request(
        model=model,
        agent_alias="OPENAI_EMBEDDING_AGENT",
        provider="openai",
        estimated_tokens=lambda: sum(map(len, texts)) // 4,
    ) as request:
        try:
            response = await embeddings.create(**for_sdk(embeddings.create, parameters))
        except Exception as error:
            fault = sdk_fault(f"`OPENAI_EMBEDDING_AGENT` ({model})", error, provider="openai", model=model)
            if fault is None:
                raise
            raise fault from error
        if response.usage:
            request.known(TokenUsage(input_tokens=response.usage.prompt_tokens))
    ctx.reply(_messages_of(response, texts))


def _messages_of(response: Any, texts: Sequence[str]) -> list[EmbeddingMessage]:
    # Matched by index: the order of the response is not promised.
    vectors = {item.index: item.embedding for item in response.data}
    usage = response.usage
    counted = (
        {len(texts) - 1: (TokenUsage(input_tokens=usage.prompt_tokens), Frozen(**usage.to_dict()))} if usage else {}
    )
    messages: list[EmbeddingMessage] = []
    for index, text in enumerate(texts):
        count, raw_count = counted.get(index, (None, None))
        messages.append(
            EmbeddingMessage(
                content=text, embedding=vectors[index], model=response.model, usage=count, raw_usage=raw_count
            )
        )
    return messages
