"""What a model is asked, as plain texts: one system text, and turns of user and assistant one after the other."""

from dataclasses import dataclass
from typing import Any, Literal


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
