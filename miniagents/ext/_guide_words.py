"""Which words of a question say what it is about, and which other words the documentation may use for them."""

import re
from collections.abc import Mapping
from typing import Final

WORD: Final = re.compile(r"\w+")

# Words that say how something is asked, not what about. The last line holds what every page of this documentation is
# about: a question is not answered by a section merely because both mention the project.
_STOP_WORDS: Final = frozenset(
    WORD.findall("""
        a about actually all am an and any anybody anyone are as at be been being best better between but by can compare
        could did difference different do does doing each example examples explain few for from get gets give go goes
        good got had happen happens has have hello help here hey hi how i if in instead into is it its just kind know
        let like lot many may me mean means might mine more most much must my need needs no not of off ok okay on one
        only or our out over please properly really right same shall she he should show simple so some something sort
        tell than thank thanks that the their them then there these they thing things this those three to too two u up
        us use used uses using versus very vs want wants was way ways we well were what whats when where which while who
        whom why will wish with within without wo work works would you your yours yourself
        miniagents miniagent framework library project
    """)
)

# What the documentation calls what people ask for in these other words. Phrases are found as phrases.
_CALLED_HERE: Final[Mapping[tuple[str, ...], str]] = {
    ("write",): "define create build declare implement make construct develop program code",
    ("parallel", "at the same time"): "concurrent concurrently concurrency simultaneous simultaneously async",
    ("error",): "exception failure fail crash problem",
    ("cancel",): "stop abort kill terminate interrupt",
    ("keep", "store"): "save persist remember memory",
    ("database",): "db sql sqlite postgres mysql",
    ("model",): "llm gpt claude gemini llama mistral",
    ("called here",): "migrate migration upgrade rename old",
    ("read_ahead",): "backpressure bound bounded limit",
    ("reach",): "propagate propagation",
    ("notebook",): "jupyter ipython colab",
    ("web",): "fastapi starlette uvicorn flask django rest endpoint",
    ("replay",): "reread again twice",
    ("test",): "pytest unittest mock fake",
    ("install",): "installation setup set",
    ("console",): "terminal tty prompt",
    ("command line",): "cli shell bash",
    ("agent_chain", "chain"): "pipeline sequence sequential",
}
_ALTERNATIVES: Final = {word: called for called, words in _CALLED_HERE.items() for word in (*words.split(), *called)}
_ENDINGS: Final = ("ing", "es", "ed", "s", "d")


def meaningful_words(question: str) -> list[str]:
    """The distinct words of a question that say what it is about, in lower case, in the order they were written."""
    words = [word for word in WORD.findall(question.lower()) if len(word.strip("_")) > 1 and word not in _STOP_WORDS]
    return list(dict.fromkeys(words))


def alternatives(word: str) -> tuple[str, ...]:
    """The words and phrases that may stand in the documentation for `word`, itself the first."""
    forms = (word, *(word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending)))
    # "creating" is "creat" without its ending.
    called = next((_ALTERNATIVES[form] for stem in forms for form in (stem, f"{stem}e") if form in _ALTERNATIVES), ())
    return (word, *(other for other in called if other != word))
