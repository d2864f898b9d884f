"""What the guide agent says, as plain functions from a question and the documentation to Markdown text."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Final

from miniagents.ext._guide_docs import DocsIndex, Found, Section
from miniagents.ext._guide_words import meaningful_words

COMMANDS: Final = {
    "/demo": "list the live demonstrations; `/demo parallel` runs one",
    "/topics": "list the sections that I can quote",
    "/connect": "how to connect a model",
    "/help": "this text",
}

# In lines that fit a narrow terminal, the first one behind the name of the agent.
NOT_A_MODEL: Final = """\
I am the offline guide, not an LLM: I quote the documentation of
miniagents. `/connect` tells how to talk to a model instead, and `/demo`
shows agents at work."""

CONNECT: Final = """\
To talk to a model instead of me, leave with `exit`, do one of
these, and start `miniagents chat` again:

- OpenAI: `pip install "miniagents[openai]"`, your key into OPENAI_API_KEY.
- Anthropic: `pip install "miniagents[anthropic]"`, your key into
  ANTHROPIC_API_KEY.
- A server on this machine (Ollama, LM Studio, llama.cpp, vLLM): start it,
  and `pip install "miniagents[openai]"`, which talks to it. It is found by
  itself; `miniagents chat --model local` takes it without asking.

The variable MINIAGENTS_MODEL names another model than the default one, and
`miniagents chat --model PROVIDER:MODEL` takes a certain one once.

In a program, put `OpenAIAgent.fork(model=...)` or
`AnthropicAgent.fork(model=...)` of `miniagents.ext.llms` where `guide_agent`
stands: agents are interchangeable."""

_WHAT_I_AM: Final = """\
I am the built-in guide of miniagents. I am not an LLM: I need no
key, no network and no weights, I do not converse, and I make nothing up.
Ask about miniagents in a few words, and I quote the section of its
documentation that fits best; `more` gives the next one."""

_NO_DOCUMENTATION: Final = """\
The documentation is not in this installation, so there is nothing
that I could quote. The demonstrations work: type `/demo`."""

_PROSE_COLUMNS: Final = 66
# An excerpt longer than a screen is not read.
_LONGEST_EXCERPT_LINES: Final = 40
_OTHER_SECTIONS: Final = 3
_SUGGESTIONS: Final = 8


def help_text() -> str:
    """What the guide is, what it is not, and its commands."""
    commands = "\n".join(f"- `{command}`: {meaning}" for command, meaning in COMMANDS.items())
    return f"{_WHAT_I_AM}\n\n{commands}"


def unknown_command(command: str) -> str:
    """The answer to a command that is none."""
    return _prose(f"No command is called `{command}`. There are {_listed([f'`{known}`' for known in COMMANDS])}.")


def demos_text(demos: Mapping[str, str], *, asked_for: str = "") -> str:
    """What can be shown (name: what it is); after saying so, if `asked_for` is none of it."""
    listed = "\n".join(f"- `/demo {name}`: {about}" for name, about in demos.items())
    unknown = f"There is no demonstration {asked_for!r}.\n" if asked_for else ""
    return f"{unknown}These run live, with real agents whose models are scripted:\n\n{listed}"


def topics_text(index: DocsIndex) -> str:
    """All files of the documentation with the headings that can be quoted."""
    if not index.sections:
        return _NO_DOCUMENTATION
    parts: list[str] = []
    for file in dict.fromkeys(section.file for section in index.sections):
        headings = dict.fromkeys(" > ".join(section.heading) for section in index.sections if section.file == file)
        parts.append(f"**{file}**\n\n" + "\n".join(f"- {heading or '(opening)'}" for heading in headings))
    return "\n\n".join(parts)


def answer_text(question: str, index: DocsIndex, *, skip: int = 0) -> str:
    """The section that answers `question` best (after `skip` better ones), with its place, and what to see next."""
    if not index.sections:
        return _NO_DOCUMENTATION
    if not meaningful_words(question):
        return help_text()
    found = index.search(question)
    if not found:
        return _nothing_found(question, index)
    if skip >= len(found):
        return _prose(f"That was all I found about {question.strip()!r}. Ask in other words, or see `/topics`.")
    section = found[skip].section
    answer = f"{section.place}:\n\n{excerpt(section, meaningful_words(question))}"
    rest = found[skip + 1 :]
    if rest:
        answer += f"\n\nSee also (`more` quotes the next one):\n{_places(rest[:_OTHER_SECTIONS])}"
    return answer


def excerpt(section: Section, words: Sequence[str]) -> str:
    """The section's text; of a long one the paragraphs and code blocks, whole, from where most of the words are."""
    blocks = _blocks(section.text)
    if sum(map(_lines, blocks)) <= _LONGEST_EXCERPT_LINES:
        return "\n\n".join(blocks)
    scores = [sum(word in block.lower() for word in words) for block in blocks]
    first = scores.index(max(scores))
    # Code alone says little without the sentence before it.
    if first and blocks[first].lstrip().startswith(("```", "~~~")):
        first -= 1
    last, lines = first + 1, _lines(blocks[first])
    while last < len(blocks) and lines + _lines(blocks[last]) <= _LONGEST_EXCERPT_LINES:
        lines += _lines(blocks[last])
        last += 1
    shown = "\n\n".join(blocks[first:last])
    left_out = sum(map(_lines, blocks[:first])) + sum(map(_lines, blocks[last:]))
    return f"{shown}\n\n(An excerpt: {left_out} more lines are in {section.file}.)" if left_out else shown


def _nothing_found(question: str, index: DocsIndex) -> str:
    said = _prose(f"I found nothing about {question.strip()!r} in the documentation of miniagents.")
    nearest = index.search(question, min_coverage=0.05)[:_OTHER_SECTIONS]
    if nearest:
        suggestion = f"The nearest that I have:\n{_places(nearest)}"
    else:
        names = list(dict.fromkeys(section.heading[0] for section in index.sections if section.heading))[:_SUGGESTIONS]
        suggestion = "Sections that I can quote (`/topics` lists all):\n" + "\n".join(f"- {name}" for name in names)
    return f"{said}\n\n{suggestion}\n\n{NOT_A_MODEL}"


def _places(found: Sequence[Found]) -> str:
    return "\n".join(f"- {one.section.place}" for one in found)


def _prose(text: str) -> str:
    """The text in lines that fit any terminal."""
    return fill(text, _PROSE_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _blocks(text: str) -> list[str]:
    """The paragraphs and fenced code blocks of a text; a blank line in code does not divide it."""
    blocks: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        mark = line.lstrip()[:3]
        if mark in ("```", "~~~"):
            fence = "" if mark == fence else fence or mark
        if fence or line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


def _lines(block: str) -> int:
    return block.count("\n") + 1


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
