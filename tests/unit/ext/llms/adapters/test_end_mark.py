import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent
from miniagents.ext.llms.errors import IncompleteStreamError
from miniagents.testing.server import Answer, Cut, ProtocolServer

gpt_agent = OpenAIAgent.fork(model="gpt-4o", max_retries=0)


async def test_a_missing_done_after_the_finish_reason_names_the_setting_for_such_servers(server: ProtocolServer):
    server.script(Answer("Hello", end_mark=False))

    async with MiniAgents():
        with pytest.raises(IncompleteStreamError, match=r"without `data: \[DONE\]`.*fork\(end_mark='finish_reason'\)"):
            await gpt_agent.inquire("Hi")


async def test_the_finish_reason_is_end_mark_enough_where_one_says_so(server: ProtocolServer):
    server.script(Answer("Hello", end_mark=False), Answer(["Hel", Cut()]))
    lenient_agent = gpt_agent.fork(end_mark="finish_reason")

    async with MiniAgents():
        assert str(await lenient_agent.inquire("Hi").as_single_promise()) == "Hello"
        with pytest.raises(IncompleteStreamError):
            await lenient_agent.inquire("Hi")


async def test_an_unknown_end_mark_is_refused(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(ValueError, match="end_mark"):
            await gpt_agent.inquire("Hi", end_mark="none")
