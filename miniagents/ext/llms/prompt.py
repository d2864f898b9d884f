"""Messages made into a prompt: one system text, and turns of user and assistant one after the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from miniagents.ext.llms.errors import EmptyPromptError, UnknownRoleError
from miniagents.messages import Message

Role = Literal["system", "user", "assistant"]

# "developer" is what newer models of OpenAI call their system messages.
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says at a stretch: the texts of all its messages in a row."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked.

    Attributes:
        system: the system prompt, `""` if there is none.
        system_blocks: content blocks that were given as `system=[{"type": "text", ...}, ...]`; they go before `system`.
        turns: the conversation, oldest first. Roles alternate, no text is blank, and the first turn is the user's
            unless `fake_first_user_message` is None.
    """

    system: str
    turns: tuple[Turn, ...]
    system_blocks: tuple[dict[str, Any], ...] = ()

    @property
    def last_text(self) -> str:
        """The text of the last turn, `""` if there is none."""
        return self.turns[-1].text if self.turns else ""

    @property
    def system_content(self) -> str | list[dict[str, Any]]:
        """The system prompt as the value of an API's `content`: a text, or content blocks if there are any."""
        if not self.system_blocks:
            return self.system
        return [*self.system_blocks, *([{"type": "text", "text": self.system}] if self.system else [])]

    @property
    def turn_dicts(self) -> list[dict[str, Any]]:
        """The conversation in the form that most APIs take: `[{"role": ..., "content": ...}, ...]`."""
        return [{"role": turn.role, "content": turn.text} for turn in self.turns]

    @property
    def dicts(self) -> list[dict[str, Any]]:
        """The same with the system prompt, if there is one, as the first."""
        system = self.system_content
        return [{"role": "system", "content": system}, *self.turn_dicts] if system else self.turn_dicts


@dataclass(frozen=True, slots=True)
class PromptRules:
    """How a prompt is put together; `LLMAgent` documents each of the settings."""

    agent_alias: str
    system: str | tuple[dict[str, Any], ...] = ""
    delimiter: str = "\n\n"
    fake_first_user_message: str | None = "/start"

    def prompt_of(self, messages: Iterable[Message]) -> Prompt:
        """Put the messages into the order and form that every provider accepts.

        Raises:
            UnknownRoleError: a message has a role other than system, developer, user, assistant or none.
            EmptyPromptError: there is nothing to send.
        """
        system_texts: list[str] = []
        blocks: tuple[dict[str, Any], ...] = ()
        if not isinstance(self.system, str):
            blocks = self.system
        elif self.system.strip():
            system_texts.append(self.system)
        spoken: list[tuple[Literal["user", "assistant"], str]] = []
        for message in messages:
            role = self._role_of(message)
            text = str(message)
            if not text.strip():
                # Providers refuse blank texts, and they say nothing to a model.
                continue
            if role == "system":
                system_texts.append(text)
            else:
                spoken.append((role, text))
        prompt = Prompt(self.delimiter.join(system_texts), tuple(self._turns(spoken)), blocks)
        if not prompt.turns and not prompt.system_content:
            raise EmptyPromptError(self.agent_alias)
        return prompt

    def _role_of(self, message: Message) -> Role:
        role: object = getattr(message, "role", None)
        if role is None:
            return "user"
        if not isinstance(role, str) or role not in _ROLES:
            raise UnknownRoleError(self.agent_alias, role, _ROLES)
        return _ROLES[role]

    def _turns(self, spoken: list[tuple[Literal["user", "assistant"], str]]) -> list[Turn]:
        if spoken and all(role == "assistant" for role, _ in spoken):
            # The output of one model handed to the next, as in a chain: to the latter it is input. Sent as its own
            # words it would be asked to go on with them, or refuse.
            spoken = [("user", text) for _, text in spoken]
        if self.fake_first_user_message is not None and (not spoken or spoken[0][0] == "assistant"):
            spoken = [("user", self.fake_first_user_message), *spoken]
        turns: list[Turn] = []
        texts: list[str] = []
        for index, (role, text) in enumerate(spoken):
            texts.append(text)
            if index + 1 == len(spoken) or spoken[index + 1][0] != role:
                turns.append(Turn(role, self.delimiter.join(texts)))
                texts = []
        return turns
