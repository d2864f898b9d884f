import subprocess
import sys

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent, ScriptedAgent, TokenUsage
from miniagents.ext.llms.prices import cost_of
from miniagents.testing.server import Answer, ProtocolServer

A_THOUSAND_IN_AND_OUT = TokenUsage(input_tokens=1000, output_tokens=1000)


def test_an_answer_costs_what_the_price_list_says():
    # 2.50 dollars for a million tokens of the prompt, 10 for a million of the answer.
    assert cost_of("openai", "gpt-4o", A_THOUSAND_IN_AND_OUT) == pytest.approx(0.0125)


def test_what_came_from_the_cache_is_cheaper_and_counted_once():
    cached = A_THOUSAND_IN_AND_OUT.model_copy(update={"cache_read_tokens": 1000})

    assert cost_of("openai", "gpt-4o", cached) == pytest.approx(0.01125)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-5"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "amazon.nova-pro-v1:0"),
        ("gemini", "gemini-2.5-pro"),
        ("azure", "gpt-4o"),
        ("vertex-anthropic", "claude-sonnet-4-5@20250929"),
    ],
)
def test_every_provider_has_prices(provider: str, model: str):
    cost = cost_of(provider, model, A_THOUSAND_IN_AND_OUT)

    assert cost is not None
    assert 0.0001 < cost < 1


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        pytest.param("openai", "qwen3:8b", A_THOUSAND_IN_AND_OUT, id="unknown model"),
        pytest.param("my-own", "gpt-4o", A_THOUSAND_IN_AND_OUT, id="unknown provider"),
        pytest.param("scripted", "gpt-4o", A_THOUSAND_IN_AND_OUT, id="nobody pays for a script"),
        pytest.param("openai", "gpt-4o", TokenUsage(), id="unknown usage"),
        pytest.param("openai", "gpt-4o", TokenUsage(input_tokens=-5, output_tokens=1), id="impossible usage"),
        pytest.param("openai", "", A_THOUSAND_IN_AND_OUT, id="no name"),
    ],
)
def test_what_is_not_known_costs_nothing_that_one_could_say(provider: str, model: str, usage: TokenUsage):
    assert cost_of(provider, model, usage) is None


def test_without_the_package_the_cost_is_not_known():
    program = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from miniagents.ext.llms.prices import cost_of\n"
        "from miniagents.usage import TokenUsage\n"
        "print(cost_of('openai', 'gpt-4o', TokenUsage(input_tokens=1, output_tokens=1)))"
    )

    assert _printed_by(program) == "None"


def test_the_package_is_not_imported_before_there_is_something_to_pay():
    program = (
        "import sys, miniagents.ext.llms.prices as prices\n"
        "from miniagents.usage import TokenUsage\n"
        "prices.cost_of('scripted', 'any', TokenUsage(input_tokens=1, output_tokens=1))\n"
        "before = 'genai_prices' in sys.modules\n"
        "prices.cost_of('openai', 'gpt-4o', TokenUsage(input_tokens=1, output_tokens=1))\n"
        "print(before, 'genai_prices' in sys.modules)"
    )

    assert _printed_by(program) == "False True"


async def test_the_last_message_of_an_answer_has_its_cost(server: ProtocolServer):
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    server.script(Answer("Hello", usage=usage), Answer("Hello", usage=usage))

    async with MiniAgents() as context:
        [priced] = await OpenAIAgent.inquire("Hi", model="gpt-4o")
        [unknown] = await OpenAIAgent.inquire("Hi", model="qwen3:8b")

        assert priced.cost == pytest.approx(0.0125)
        assert unknown.cost is None
        assert float(context.usage.total.cost) == pytest.approx(0.0125)


async def test_a_script_costs_nothing():
    async with MiniAgents():
        [message] = await ScriptedAgent.inquire("Hi", script="Hello")

    assert message.cost is None


def _printed_by(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=25
    ).stdout.strip()
