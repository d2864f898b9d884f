"""What the generations of Claude take: how they are told to think, and which options they refuse.

As published at https://platform.claude.com/docs/en/build-with-claude/thinking and in the migration guides of the models
until November 2026. A model that is not recognised is taken for one of the newest that can do everything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.model_events import ThinkingLevel

# What every Claude model accepts; the API has no default of its own.
DEFAULT_MAX_TOKENS: Final = 4096
# Thoughts count as output. So much room they get, on top of the default above; older models take it as their budget.
_ROOM_TO_THINK: Final[dict[str, int]] = {"off": 0, "low": 2048, "medium": 8192, "high": 16384}
_SMALLEST_BUDGET: Final = 1024
# Gone from the API's version of October 2026, and accepted by the version before it for the models that know them.
SAMPLING_PARAMETERS: Final = ("temperature", "top_p", "top_k")

# Names as the API, Amazon ("us.anthropic.claude-opus-4-6-v1") and Google ("claude-haiku-4-5@20251001") write them. A
# date is no version, so a part of it has at most two digits.
_NAME: Final = re.compile(
    r"claude-(?:(?P<family>[a-z]+)-)?(?P<major>\d{1,2})(?!\d)(?:[-.](?P<minor>\d{1,2})(?!\d))?(?:-(?P<last>[a-z]+))?"
)
_SNAPSHOT: Final = re.compile(r"(?:[-@]\d{8})?(?:-v\d+)?(?::\d+\w*)?$")


@dataclass(frozen=True, slots=True)
class Generation:
    """What some models have in common.

    Attributes:
        thinks_by: the `type` with which thinking is asked for: `"adaptive"` goes with `output_config.effort`,
            `"enabled"` with `budget_tokens`.
        off: the `type` that turns thinking off; None where leaving it out does, `"never"` where nothing does.
        hides_thoughts: whether the text of thoughts has to be asked for.
        takes_old_options: whether it still takes `budget_tokens`, and, by the API's version before the current one,
            `temperature` and its kin.
        can_be_forced: whether `tool_choice` may force a call.
    """

    thinks_by: Literal["adaptive", "enabled"] = "adaptive"
    off: Literal["disabled", "between_tools", "never"] | None = None
    hides_thoughts: bool = True
    takes_old_options: bool = False
    can_be_forced: bool = True


_BUDGET: Final = Generation("enabled", None, hides_thoughts=False, takes_old_options=True)
# The first that fits counts: families (empty: all), the oldest version that it holds for.
_TABLE: Final[tuple[tuple[tuple[str, ...], tuple[int, int], Generation], ...]] = (
    (("fable", "mythos"), (0, 0), Generation(off="never")),
    (("opus",), (5, 5), Generation(off="never", can_be_forced=False)),
    (("sonnet",), (5, 5), Generation(off="between_tools", can_be_forced=False)),
    ((), (5, 0), Generation(off="disabled")),
    ((), (4, 7), Generation()),
    ((), (4, 6), Generation(hides_thoughts=False, takes_old_options=True)),
    ((), (0, 0), _BUDGET),
)
# Deployments may have any name: nothing is refused, and thinking goes as current models want it.
_UNKNOWN: Final = Generation(off="disabled", takes_old_options=True)


def generation_of(model: str) -> Generation:
    """Find out what `model` takes, by its name."""
    found = _NAME.search(model)
    if found is None:
        # The first model of Mythos has no version in its name.
        return next((row[2] for row in _TABLE if any(f"claude-{family}" in model for family in row[0])), _UNKNOWN)
    family = found["family"] or found["last"] or ""
    version = (int(found["major"]), int(found["minor"] or 0))
    return next(row[2] for row in _TABLE if version >= row[1] and (not row[0] or family in row[0]))


def is_same_model(one: str, other: str) -> bool:
    """Whether two names, of whichever cloud and with a date or without, are those of one model."""
    return _bare(one) == _bare(other)


def _bare(model: str) -> str:
    start = model.find("claude-")
    return _SNAPSHOT.sub("", model[max(start, 0) :])


def check_options(agent_alias: str, model: str, level: ThinkingLevel | None, parameters: Mapping[str, Any]) -> None:
    """Refuse what `model` refuses, before anything is sent.

    Raises:
        UnsupportedOptionError: it names the option, and what to do in its place.
    """
    generation = generation_of(model)
    body = parameters.get("extra_body")
    given = {**parameters, **(cast("dict[str, Any]", body) if isinstance(body, Mapping) else {})}

    def refuse(option: str, instead: str) -> None:
        raise UnsupportedOptionError(agent_alias, option, model, instead)

    for name in SAMPLING_PARAMETERS:
        if given.get(name) is not None and not generation.takes_old_options:
            refuse(name, "this model does not take it any more. Leave it out, and say in `system` what you want.")
    if given.get("output_format") is not None:
        refuse("output_format", "use `response_model=`, or `output_config={'format': {...}}` for a schema of your own.")
    if level == "off" and generation.off == "never":
        refuse("thinking='off'", "this model always thinks. Use `thinking='low'` for as little as possible.")
    kind = _type_of(given.get("thinking"))
    if kind == "enabled" and not generation.takes_old_options:
        refuse("thinking.budget_tokens", "this model takes no budget. Use `thinking='low'`, `'medium'` or `'high'`.")
    if kind == "disabled" and generation.off in ("never", "between_tools"):
        least = "low" if generation.off == "never" else "off"
        refuse("thinking.type='disabled'", f"use `thinking='{least}'` for as little as possible.")
    choice = _type_of(given.get("tool_choice"))
    if choice in ("any", "tool") and not generation.can_be_forced:
        refuse("tool_choice", "this model cannot be forced to call a tool. Leave it out, and ask for it in `system`.")


def _type_of(option: Any) -> Any:
    return cast("Mapping[str, Any]", option).get("type") if isinstance(option, Mapping) else None


def thinking_parameters(
    agent_alias: str, model: str, level: ThinkingLevel | None, max_tokens: int | None
) -> dict[str, Any]:
    """Give the parameters `max_tokens`, `thinking` and `output_config` for a level of thinking.

    Raises:
        UnsupportedOptionError: `max_tokens` leaves an older model no room to think.
    """
    generation = generation_of(model)
    room = _ROOM_TO_THINK[level or "off"]
    parameters: dict[str, Any] = {"max_tokens": max_tokens or DEFAULT_MAX_TOKENS + room}
    if level is None:
        return parameters
    if level == "off":
        return parameters if generation.off is None else {**parameters, "thinking": {"type": generation.off}}
    if generation.thinks_by == "adaptive":
        display = {"display": "summarized"} if generation.hides_thoughts else {}
        return {**parameters, "thinking": {"type": "adaptive", **display}, "output_config": {"effort": level}}
    budget = min(room, parameters["max_tokens"] - 1)
    if budget < _SMALLEST_BUDGET:
        raise UnsupportedOptionError(
            agent_alias,
            f"thinking={level!r}",
            model,
            f"`max_tokens={max_tokens}` leaves no room for it. Give more than {_SMALLEST_BUDGET}.",
        )
    return {**parameters, "thinking": {"type": "enabled", "budget_tokens": budget}}
