"""Which model `miniagents chat` talks to, and the sentence that says why.

In this order: the option `--model`; the variable MINIAGENTS_MODEL; a provider's key in the environment; a model server
on this machine, if the user agrees; the built-in guide, which always works.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from miniagents.cli.consent import ConsentFileError, consent_file, remember_answer, remembered_answer
from miniagents.errors import MiniAgentsError
from miniagents.ext.llms.local_servers import (
    Address,
    LocalServer,
    NotOnThisMachineError,
    address_of_url,
    find_local_servers,
    likely_addresses,
    probing_is_off,
)
from miniagents.ext.llms.model_agents import known_prefixes

Provider = Literal["openai", "anthropic", "local", "guide", "echo", "script", "other"]
"""`other` is any other prefix of `model_agent`; the name of such a model has its prefix."""

_PROVIDER_OF_PREFIX: Final[Mapping[str, Provider]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "local": "local",
    "http": "local",
    "https": "local",
    "guide": "guide",
    "echo": "echo",
    "script": "script",
}
KEY_VARIABLES: Final[Mapping[Provider, str]] = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
DEFAULT_MODELS: Final[Mapping[Provider, str]] = {"openai": "gpt-5.5", "anthropic": "claude-sonnet-5-5"}
KNOWN_FORMS: Final = (
    "`openai:MODEL`, `anthropic:MODEL`, `gemini:MODEL`, `bedrock:MODEL` or another prefix of `model_agent()`, "
    "`local:MODEL` (a server on this machine), its URL such as `http://127.0.0.1:8080/v1`, `script:FILE`, `echo` or "
    "`guide`"
)

# Somebody who names a server waits for it; somebody who did not must not notice that servers are looked for.
_NAMED_SERVER_TIMEOUT_S: Final = 2.0


class ModelChoiceError(MiniAgentsError):
    """The model that was asked for cannot be had; the sentence says what to change."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model to talk to: `model` is its name (of `script`, the file), `base_url` is set for `local` alone."""

    provider: Provider
    reason: str
    model: str = ""
    base_url: str | None = None

    @property
    def sentence(self) -> str:
        """One line for the user: what was chosen, and why."""
        name = self.model if self.provider == "other" else f"{self.provider}:{self.model}".rstrip(":")
        place = f" at {self.base_url}" if self.base_url else ""
        return f"Model: {name}{place}, because {self.reason}."


Ask = Callable[[str], bool]
"""Puts a yes-or-no question to the user and returns the answer."""


def choose_model(
    option: str | None,
    environ: Mapping[str, str],
    *,
    ask: Ask | None,
    sdk_is_installed: Callable[[str], bool] = lambda package: find_spec(package) is not None,
    likely: Callable[[Mapping[str, str]], Sequence[Address]] = likely_addresses,
) -> ModelChoice:
    """Choose the model, looking for servers on this machine only if nothing else decides (blocking, 250 ms at most).

    Args:
        option: what `--model` was given.
        environ: the environment variables.
        ask: called before a server that was found is used for the first time; `None` if nobody is there to answer, in
            which case the server is passed over.
        sdk_is_installed: tells whether a provider's package can be imported.
        likely: where servers on this machine may listen.

    Raises:
        ModelChoiceError: the option or a variable asks for what is not known, not installed or not there.
        NotOnThisMachineError: the option is a URL of another machine.
    """
    chooser = _Chooser(environ, ask, sdk_is_installed, likely)
    if option is not None:
        return chooser.named(option, f"`--model {option}` says so")
    variable = environ.get("MINIAGENTS_MODEL", "").strip()
    if variable and _provider_of(variable) is not None:
        return chooser.named(variable, f"MINIAGENTS_MODEL is {variable!r}")
    return chooser.by_key() or chooser.by_server() or chooser.guide()


def _provider_of(name: str) -> Provider | None:
    prefix, _, model = name.partition(":")
    prefix = prefix.strip().lower()
    known = _PROVIDER_OF_PREFIX.get(prefix)
    return "other" if known is None and model.strip() and prefix in known_prefixes() else known


class _Chooser:
    def __init__(
        self,
        environ: Mapping[str, str],
        ask: Ask | None,
        sdk_is_installed: Callable[[str], bool],
        likely: Callable[[Mapping[str, str]], Sequence[Address]],
    ) -> None:
        self._environ = environ
        self._ask = ask
        self._sdk_is_installed = sdk_is_installed
        self._likely = likely
        # What was passed over on the way to the guide, and why; told with the choice.
        self._passed_over: list[str] = []

    # -------------------------------------------------------------------------------------------------- by name

    def named(self, name: str, reason: str) -> ModelChoice:
        """The choice that `name` (of the option, or of MINIAGENTS_MODEL) spells out."""
        provider = _provider_of(name)
        model = name.partition(":")[2].strip()
        match provider:
            case "other":
                return ModelChoice(provider, reason, name)
            case None:
                raise ModelChoiceError(f"No model is called {name!r}: give {KNOWN_FORMS}.")
            case "openai" | "anthropic":
                return self._keyed(provider, model, reason)
            case "local":
                return self._named_server(name, model, reason)
            case "script":
                if not model:
                    raise ModelChoiceError(f"{name!r} names no file: give `script:FILE`, such as `script:talk.md`.")
                return ModelChoice(provider, reason, model)
            case "guide" | "echo":
                if model:
                    raise ModelChoiceError(
                        f"{name!r} asks for a model of `{provider}`, which has none: drop `:{model}`."
                    )
                return ModelChoice(provider, reason)

    def _keyed(self, provider: Provider, model: str, reason: str) -> ModelChoice:
        key = KEY_VARIABLES[provider]
        if not self._environ.get(key, "").strip():
            raise ModelChoiceError(
                f"`{provider}:` needs a key, and {key} is not set: set it, or use `--model guide`, which needs none."
            )
        if not self._sdk_is_installed(provider):
            raise ModelChoiceError(
                f"{key} is set, but the package {provider!r} is not installed: {_install(provider)} (or use `--model "
                "guide`, which needs neither)."
            )
        return ModelChoice(provider, reason, model or self._default_model(provider))

    def _named_server(self, name: str, model: str, reason: str) -> ModelChoice:
        self._require_client(name)
        if name.lower().startswith("local"):
            return self._first_server(name, model, reason)
        url, _, model = name.partition("#")
        address = address_of_url(url)
        if model:
            return ModelChoice("local", reason, model, address.base_url)
        off = probing_is_off(self._environ)
        if off:
            raise ModelChoiceError(f"{name!r} is not asked for its models, as {off}: name one, as in `{url}#MODEL`.")
        servers = _servers_at([address], timeout_s=_NAMED_SERVER_TIMEOUT_S)
        if not servers:
            raise ModelChoiceError(
                f"Nothing at {address.base_url} answers `GET {address.path}/models` as a model server does: start the "
                f"server, correct the URL, or name the model, as in `{url}#MODEL`."
            )
        return self._model_of(servers[0], "", reason)

    def _first_server(self, name: str, model: str, reason: str) -> ModelChoice:
        off = probing_is_off(self._environ)
        if off:
            raise ModelChoiceError(
                f"{name!r} would have to look for a server on this machine, which it must not as {off}: give the "
                "server's URL and model, as in `http://127.0.0.1:11434/v1#MODEL`."
            )
        addresses = self._likely(self._environ)
        servers = _servers_at(addresses, timeout_s=_NAMED_SERVER_TIMEOUT_S)
        holders = [server for server in servers if not model or model in server.models]
        if holders:
            return self._model_of(holders[0], model, reason)
        if servers:
            offered = ", ".join(f"`{known}`" for server in servers for known in server.models) or "no model at all"
            raise ModelChoiceError(f"No server on this machine has a model {model!r}; what they have is {offered}.")
        raise ModelChoiceError(
            f"No model server answers on this machine ({_listed(addresses)}): start one, or give its URL."
        )

    def _model_of(self, server: LocalServer, model: str, reason: str) -> ModelChoice:
        chosen = model or self._preferred(server.models)
        if chosen is None:
            raise ModelChoiceError(
                f"{server.address.server} at {server.address.base_url} offers no model: load one there first."
            )
        return ModelChoice("local", reason, chosen, server.address.base_url)

    # ------------------------------------------------------------------------------------------ by what is there

    def by_key(self) -> ModelChoice | None:
        """The first provider whose key is set, preferring those whose package is installed; `None` without a key."""
        keyed: list[Provider] = [
            provider for provider, key in KEY_VARIABLES.items() if self._environ.get(key, "").strip()
        ]
        if not keyed:
            return None
        installed: list[Provider] = [provider for provider in keyed if self._sdk_is_installed(provider)]
        provider = (installed or keyed)[0]
        reason = f"{KEY_VARIABLES[provider]} is set"
        if provider == "openai" and self._environ.get("OPENAI_BASE_URL", "").strip():
            reason += f", and OPENAI_BASE_URL points to {self._environ['OPENAI_BASE_URL'].strip()}"
        if provider != keyed[0]:
            reason += f" ({KEY_VARIABLES[keyed[0]]} is, too, but the package {keyed[0]!r} is not installed)"
        elif len(keyed) > 1:
            reason += f" ({KEY_VARIABLES[keyed[1]]} is, too: `--model {keyed[1]}` takes that)"
        return self._keyed(provider, "", reason)

    def by_server(self) -> ModelChoice | None:
        """A server that answers on this machine and that the user agrees to; `None` otherwise, noting why."""
        off = probing_is_off(self._environ)
        if off:
            self._passed_over.append(f"this machine was not searched for a model server, as {off}")
            return None
        servers = _servers_at(self._likely(self._environ))
        if not servers:
            self._passed_over.append("no model server answers on this machine")
        if _is_elsewhere(self._environ.get("OPENAI_BASE_URL", "").strip()):
            self._passed_over.append("OPENAI_BASE_URL names another machine, which is not talked to without a key")
        for server in servers:
            place = f"{server.address.server} at {server.address.base_url}"
            model = self._preferred(server.models)
            if model is None:
                self._passed_over.append(f"{place} offers no model")
            elif not self._sdk_is_installed("openai"):
                self._passed_over.append(f"{place} answers, but the package 'openai' is missing: {_install('openai')}")
            elif consent := self._consent(server, model, place):
                return ModelChoice("local", consent, model, server.address.base_url)
        return None

    def guide(self) -> ModelChoice:
        """The built-in guide, with everything that was passed over as the reason."""
        reasons = ["neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set", *self._passed_over]
        return ModelChoice("guide", ", and ".join(reasons))

    def _consent(self, server: LocalServer, model: str, place: str) -> str | None:
        """Why the server may be used, as the user said now or earlier; `None` if it may not, noting why."""
        file = consent_file(self._environ)
        try:
            answer = remembered_answer(file, server.address.base_url)
        except ConsentFileError as error:
            self._passed_over.append(f"{place} was passed over: {str(error).rstrip('.')}")
            return None
        not_kept = ""
        if answer is None and self._ask is not None:
            agreed = self._ask(f"{place} answers, with the model {model}. Talk to it, now and in future?")
            answer = "yes" if agreed else "no"
            try:
                remember_answer(file, server.address.base_url, answer)
            except ConsentFileError as error:
                not_kept = f" (you will be asked again: {str(error).rstrip('.')})"
        match answer:
            case "yes":
                return f"{place} answers, and you agreed to it{not_kept}"
            case "no":
                reason = f"but you declined it (`--model local` takes it all the same){not_kept}"
            case None:
                reason = "but was never agreed to, and there is no terminal to ask on (`--model local` takes it)"
        self._passed_over.append(f"{place} answers, {reason}")
        return None

    # ------------------------------------------------------------------------------------------------- details

    def _default_model(self, provider: Provider) -> str:
        variable = self._environ.get("MINIAGENTS_MODEL", "").strip()
        named = _provider_of(variable)
        model = variable if named is None else variable.partition(":")[2].strip() if named == provider else ""
        return model or DEFAULT_MODELS[provider]

    def _preferred(self, models: Sequence[str]) -> str | None:
        """The model of MINIAGENTS_MODEL if the server has it, else its first that can talk."""
        wanted = self._environ.get("MINIAGENTS_MODEL", "").strip()
        if wanted in models:
            return wanted
        # Servers list their embedding models among the others; none of them can hold a conversation.
        return next((model for model in models if "embed" not in model.lower()), None)

    def _require_client(self, name: str) -> None:
        if not self._sdk_is_installed("openai"):
            raise ModelChoiceError(
                f"{name!r} is talked to with the package 'openai', which is not installed: {_install('openai')}."
            )


def _servers_at(addresses: Sequence[Address], *, timeout_s: float = 0.25) -> list[LocalServer]:
    return asyncio.run(find_local_servers(addresses, timeout_s=timeout_s))


def _is_elsewhere(url: str) -> bool:
    try:
        return bool(url) and not address_of_url(url)
    except NotOnThisMachineError:
        return True


def _install(extra: str) -> str:
    return f'`pip install "miniagents[{extra}]"`'


def _listed(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{address.server} at {address.base_url}" for address in addresses)
