"""Which model `miniagents chat` takes, in which order, and what it says about it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from miniagents.cli.model_choice import DEFAULT_MODELS, ModelChoice, ModelChoiceError, choose_model
from miniagents.ext.llms.local_servers import Address, NotOnThisMachineError

OPENAI = {"OPENAI_API_KEY": "sk-o"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "sk-a"}


def choose(
    option: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    ask=None,
    installed: tuple[str, ...] = ("openai", "anthropic"),
    addresses: list[Address] | None = None,
) -> ModelChoice:
    return choose_model(
        option,
        environ or {},
        ask=ask,
        sdk_is_installed=lambda package: package in installed,
        likely=lambda _: addresses or [],
    )


class Asked:
    """Answers every question alike and remembers them."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.questions: list[str] = []

    def __call__(self, question: str, /) -> bool:
        self.questions.append(question)
        return self.answer


# ------------------------------------------------------------------------------------------------ the option


def test_the_option_wins_over_everything_else() -> None:
    choice = choose("echo", {**OPENAI, "MINIAGENTS_MODEL": "guide"})

    assert choice.provider == "echo"
    assert choice.sentence == "Model: echo, because `--model echo` says so."


@pytest.mark.parametrize(
    ("option", "provider", "model"),
    [
        ("openai:gpt-4o", "openai", "gpt-4o"),
        ("OpenAI:gpt-4o", "openai", "gpt-4o"),
        ("openai:", "openai", DEFAULT_MODELS["openai"]),
        ("openai", "openai", DEFAULT_MODELS["openai"]),
        ("anthropic:claude-x", "anthropic", "claude-x"),
        ("anthropic", "anthropic", DEFAULT_MODELS["anthropic"]),
        ("guide", "guide", ""),
        ("echo", "echo", ""),
        ("script:talk.md", "script", "talk.md"),
        ("script:C:\\talks\\talk.md", "script", "C:\\talks\\talk.md"),
        ("http://localhost:8080/v1#qwen", "local", "qwen"),
    ],
)
def test_every_form_of_the_option_names_a_model(option: str, provider: str, model: str) -> None:
    choice = choose(option, {**OPENAI, **ANTHROPIC})

    assert (choice.provider, choice.model) == (provider, model)


def test_every_provider_of_model_agent_can_be_named() -> None:
    choice = choose("gemini:gemini-3.8-flash")

    assert (choice.provider, choice.model) == ("other", "gemini:gemini-3.8-flash")
    assert choice.sentence.startswith("Model: gemini:gemini-3.8-flash, because")


@pytest.mark.parametrize("option", ["nobody:pro", "gpt-4o", "", "open ai:gpt"])
def test_an_unknown_prefix_is_answered_with_the_known_ones(option: str) -> None:
    with pytest.raises(ModelChoiceError) as refusal:
        choose(option)

    assert repr(option) in str(refusal.value)
    for known in ("openai:", "anthropic:", "local:", "script:FILE", "echo", "guide"):
        assert known in str(refusal.value)


@pytest.mark.parametrize(
    ("option", "environ", "sentence"),
    [
        pytest.param("openai:gpt", {}, "OPENAI_API_KEY is not set", id="no OpenAI key"),
        pytest.param("anthropic", OPENAI, "ANTHROPIC_API_KEY is not set", id="no Anthropic key"),
        pytest.param("anthropic", {"ANTHROPIC_API_KEY": " "}, "ANTHROPIC_API_KEY is not set", id="a blank key"),
        pytest.param("script:", {}, "names no file", id="a script without a file"),
        pytest.param("guide:big", {}, "drop `:big`", id="a guide with a model"),
        pytest.param("local", {"CI": "true"}, "CI is set", id="looking for a server under CI"),
        pytest.param("http://127.0.0.1:1/v1", {"CI": "true"}, "#MODEL", id="asking a server under CI"),
        pytest.param("http://127.0.0.1:1/v1", {}, "http://127.0.0.1:1/v1#MODEL", id="nothing at the URL"),
        pytest.param("local", {}, "No model server answers", id="no server"),
    ],
)
def test_what_the_option_asks_for_in_vain_is_said_with_the_fix(option, environ, sentence: str) -> None:
    with pytest.raises(ModelChoiceError) as refusal:
        choose(option, environ)

    assert sentence in str(refusal.value)


def test_a_url_of_another_machine_is_refused() -> None:
    with pytest.raises(NotOnThisMachineError):
        choose("https://example.com/v1")


# ------------------------------------------------------------------------------------------------ keys


@pytest.mark.parametrize(
    ("environ", "name", "reason"),
    [
        (OPENAI, f"openai:{DEFAULT_MODELS['openai']}", "OPENAI_API_KEY is set"),
        (ANTHROPIC, f"anthropic:{DEFAULT_MODELS['anthropic']}", "ANTHROPIC_API_KEY is set"),
        ({**ANTHROPIC, "MINIAGENTS_MODEL": "claude-tiny"}, "anthropic:claude-tiny", "ANTHROPIC_API_KEY is set"),
        ({**OPENAI, "MINIAGENTS_MODEL": "openai:gpt-x"}, "openai:gpt-x", "MINIAGENTS_MODEL is 'openai:gpt-x'"),
        ({**OPENAI, "MINIAGENTS_MODEL": "guide"}, "guide", "MINIAGENTS_MODEL is 'guide'"),
    ],
)
def test_a_key_in_the_environment_chooses_its_provider(environ, name: str, reason: str) -> None:
    assert choose(environ=environ).sentence == f"Model: {name}, because {reason}."


def test_with_both_keys_the_sentence_names_the_other_provider() -> None:
    sentence = choose(environ={**ANTHROPIC, **OPENAI}).sentence

    assert sentence.startswith("Model: openai:")
    assert "`--model anthropic` takes that" in sentence


def test_a_key_whose_package_is_missing_gives_way_to_one_that_works() -> None:
    choice = choose(environ={**OPENAI, **ANTHROPIC}, installed=("anthropic",))

    assert choice.provider == "anthropic"
    assert "the package 'openai' is not installed" in choice.sentence


@pytest.mark.parametrize(("option", "environ"), [(None, OPENAI), ("openai:gpt", OPENAI), ("openai", OPENAI)])
def test_a_key_without_its_package_is_answered_with_the_extra_to_install(option, environ) -> None:
    with pytest.raises(ModelChoiceError, match=r'`pip install "miniagents\[openai\]"`'):
        choose(option, environ, installed=())


def test_the_default_of_one_provider_is_not_taken_from_the_variable_of_another() -> None:
    choice = choose("openai", {**OPENAI, "MINIAGENTS_MODEL": "anthropic:claude-x"})

    assert choice.model == DEFAULT_MODELS["openai"]


def test_where_requests_go_is_said_when_the_environment_moves_them() -> None:
    sentence = choose(environ={**OPENAI, "OPENAI_BASE_URL": "http://127.0.0.1:7000/v1"}).sentence

    assert "OPENAI_BASE_URL points to http://127.0.0.1:7000/v1" in sentence


# ------------------------------------------------------------------------------------------------ servers here


def test_a_server_is_asked_about_once_and_the_consent_is_remembered(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder)}
    server = model_server(["nomic-embed-text", "llama3:8b"])
    asked = Asked(answer=True)

    first = choose(None, environ, ask=asked, addresses=[server.address])
    second = choose(None, environ, ask=asked, addresses=[server.address])

    assert (first.provider, first.model, first.base_url) == ("local", "llama3:8b", server.address.base_url)
    assert second == first
    assert len(asked.questions) == 1
    assert server.address.base_url in asked.questions[0]


def test_consent_given_on_a_terminal_holds_where_there_is_none(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder)}
    server = model_server(["llama3"])
    choose(None, environ, ask=Asked(answer=True), addresses=[server.address])

    assert choose(None, environ, ask=None, addresses=[server.address]).provider == "local"


def test_a_declined_server_is_passed_over_without_being_asked_about_again(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder)}
    servers = [model_server(["llama3"]), model_server(["mistral"])]
    asked = Asked(answer=False)

    for _ in range(2):
        choice = choose(None, environ, ask=asked, addresses=[server.address for server in servers])

    assert choice.provider == "guide"
    assert "declined" in choice.sentence
    assert len(asked.questions) == 2


def test_without_a_terminal_an_unknown_server_is_passed_over_with_a_sentence(model_server, state_folder: Path) -> None:
    server = model_server(["llama3"])

    choice = choose(None, {"XDG_STATE_HOME": str(state_folder)}, ask=None, addresses=[server.address])

    assert choice.provider == "guide"
    assert "there is no terminal to ask on" in choice.sentence
    assert "`--model local` takes it" in choice.sentence
    assert not state_folder.exists()


@pytest.mark.parametrize("switch", ["CI", "MINIAGENTS_OFFLINE"])
def test_under_ci_or_offline_no_server_is_asked(model_server, switch: str) -> None:
    server = model_server(["llama3"])

    choice = choose(None, {switch: "1"}, ask=Asked(answer=True), addresses=[server.address])

    assert choice.provider == "guide"
    assert f"{switch} is set" in choice.sentence
    assert server.requests == []


def test_a_key_keeps_servers_from_being_looked_for(model_server) -> None:
    server = model_server(["llama3"])

    assert choose(None, OPENAI, ask=Asked(answer=True), addresses=[server.address]).provider == "openai"
    assert server.requests == []


@pytest.mark.parametrize(
    ("models", "installed", "reason"),
    [
        pytest.param([], ("openai",), "offers no model", id="no model loaded"),
        pytest.param(["all-minilm-embed"], ("openai",), "offers no model", id="only an embedding model"),
        pytest.param(["llama3"], (), '`pip install "miniagents[openai]"`', id="no client installed"),
    ],
)
def test_a_server_that_cannot_be_talked_to_is_named_with_the_reason(model_server, models, installed, reason) -> None:
    server = model_server(models)
    asked = Asked(answer=True)

    choice = choose(None, {}, ask=asked, installed=installed, addresses=[server.address])

    assert choice.provider == "guide"
    assert reason in choice.sentence
    assert asked.questions == []


def test_the_variable_picks_a_model_that_the_server_has(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder), "MINIAGENTS_MODEL": "mistral"}
    server = model_server(["llama3", "mistral"])

    assert choose(None, environ, ask=Asked(answer=True), addresses=[server.address]).model == "mistral"


def test_the_option_takes_a_server_without_asking(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder)}
    servers = [model_server(["llama3"]), model_server(["mistral:7b"])]
    addresses = [server.address for server in servers]

    first = choose("local", environ, addresses=addresses)
    named = choose("local:mistral:7b", environ, addresses=addresses)
    by_url = choose(servers[1].address.base_url, environ)

    assert (first.model, first.base_url) == ("llama3", addresses[0].base_url)
    assert (named.model, named.base_url) == ("mistral:7b", addresses[1].base_url)
    assert (by_url.model, by_url.base_url) == ("mistral:7b", addresses[1].base_url)
    assert not state_folder.exists()


def test_a_model_that_no_server_has_is_answered_with_those_they_have(model_server) -> None:
    server = model_server(["llama3"])

    with pytest.raises(ModelChoiceError, match=r"'qwen'.*`llama3`"):
        choose("local:qwen", addresses=[server.address])


@pytest.mark.parametrize("content", ["{not json", "[]"])
def test_an_unreadable_memory_of_answers_is_left_alone_and_reported(model_server, state_folder: Path, content) -> None:
    memory = state_folder / "miniagents" / "local_servers.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content)
    server = model_server(["llama3"])

    choice = choose(None, {"XDG_STATE_HOME": str(state_folder)}, ask=Asked(answer=True), addresses=[server.address])

    assert choice.provider == "guide"
    assert str(memory) in choice.sentence
    assert memory.read_text() == content


def test_an_answer_that_cannot_be_kept_holds_for_now_and_the_sentence_says_so(model_server, tmp_path: Path) -> None:
    folder = tmp_path / "miniagents"
    folder.mkdir()
    (folder / f"local_servers.json.{os.getpid()}").mkdir()  # in the way of the new file
    server = model_server(["llama3"])

    choice = choose(None, {"XDG_STATE_HOME": str(tmp_path)}, ask=Asked(answer=True), addresses=[server.address])

    assert choice.provider == "local"
    assert "you will be asked again" in choice.sentence
    assert "cannot be written" in choice.sentence


def test_answers_for_several_servers_are_kept_side_by_side(model_server, state_folder: Path) -> None:
    environ = {"XDG_STATE_HOME": str(state_folder)}
    refused, agreed = model_server(["a"]), model_server(["b"])
    choose(None, environ, ask=Asked(answer=False), addresses=[refused.address])
    choose(None, environ, ask=Asked(answer=True), addresses=[agreed.address])

    assert json.loads((state_folder / "miniagents" / "local_servers.json").read_text()) == {
        refused.address.base_url: "no",
        agreed.address.base_url: "yes",
    }


# ------------------------------------------------------------------------------------------------ the guide


def test_with_nothing_there_the_guide_is_taken_and_the_sentence_says_why() -> None:
    assert choose().sentence == (
        "Model: guide, because neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set, and no model server answers on "
        "this machine."
    )


def test_a_base_url_of_another_machine_without_a_key_is_mentioned() -> None:
    sentence = choose(environ={"OPENAI_BASE_URL": "https://llm.example.com/v1"}).sentence

    assert "OPENAI_BASE_URL names another machine, which is not talked to without a key" in sentence
