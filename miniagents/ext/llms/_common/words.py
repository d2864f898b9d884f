"""Texts cut into tokens, for the agents that answer word by word without asking a model."""

import re

# In this order: the last word with all that is behind it, any other word, and a text of nothing but blanks.
_TOKEN = re.compile(r"\s*\S+\s*\Z|\s*\S+|\s+")


def words_of(text: str) -> list[str]:
    """Cut `text` into its words, each with the blanks before it; joined they are `text`, to the last blank."""
    return _TOKEN.findall(text)
