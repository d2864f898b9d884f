"""What a type checker must infer about structured output. Checked by basedpyright in strict mode, never run."""

from typing import Any, assert_type

from pydantic import BaseModel

from miniagents import MessagePromise, MiniAgent
from miniagents.ext import Retry, limited
from miniagents.ext.llms import ScriptedAgent, output_schema, parse_reply, stream_parsed
from miniagents.ext.llms.model_events import OutputSchema
from miniagents.ext.llms.structured import validated


class City(BaseModel):
    name: str


async def a_parsed_reply_has_the_type_that_was_asked_for(reply: MessagePromise) -> None:
    assert_type(await parse_reply(ScriptedAgent.inquire("Where?", response_model=City), City), City)
    assert_type(await parse_reply(reply, list[City]), list[City])
    assert_type(validated('{"name": "Rome"}', City), City)
    assert_type(output_schema(City), OutputSchema)


async def a_stream_gives_dicts_and_at_last_the_model(reply: MessagePromise) -> None:
    async for partial in stream_parsed(reply, City):
        assert_type(partial, dict[str, Any] | City)
        if isinstance(partial, City):
            assert_type(partial.name, str)


def a_limited_agent_is_an_agent() -> None:
    assert_type(limited(ScriptedAgent, max_concurrency=2, timeout_s=1, retry=Retry(attempts=2)), MiniAgent)
