"""JSON that is still being written: what is there so far, at a cost that grows with what is new and not with the whole.

Every character is looked at once. Of the value that is being written, the containers that are open are kept with their
finished members; a snapshot copies these (not what is in them) and adds the string under way. Numbers and words such as
`true` appear when they are complete, as half a number is another number.
"""

import re
from typing import Any, Final

from pydantic_core import from_json

from miniagents.promising.sentinels import NO_VALUE

_STRUCTURE: Final = re.compile(r'["{}\[\],:]')
_IN_STRING: Final = re.compile(r'["\\]')
_CLOSING: Final = {"}": dict, "]": list}


class NotJSONError(ValueError):
    """What was taken for JSON is none."""


class PartialJSON:
    """The first object (or list, if `opening` has its bracket too) in a text that arrives in pieces."""

    def __init__(self, opening: str = "{") -> None:
        self._opening = re.compile(f"[{re.escape(opening)}]")
        self._text = ""
        self._start = 0
        self._begin_at(0)

    def _begin_at(self, start: int) -> None:
        self._at = start
        """How far the text is understood."""
        self._has_begun = False
        self._stack: list[_Open] = []
        self._in_string = False
        self._whole: Any = NO_VALUE

    def add(self, text: str) -> None:
        """Take the next piece. Never raises."""
        self._text += text
        while self._whole is NO_VALUE:
            try:
                self._read_on()
            except ValueError:
                if self._stack and self._stack[0].members:
                    # Broken in the middle: what there is will not grow any more.
                    self._whole = self.value()
                    return
                # It was a bracket among words: what is meant may come later.
                self._begin_at(self._start + 1)
            else:
                return

    def value(self) -> Any:
        """Give what is there so far, `NO_VALUE` if nothing. What is in it must not be changed."""
        if self._whole is not NO_VALUE:
            return self._whole
        value: Any = NO_VALUE
        if self._stack:
            try:
                value = self._stack[-1].partial_string(self._text)
            except ValueError:
                value = NO_VALUE
        for container in reversed(self._stack):
            value = container.with_member(value)
        return value

    def _read_on(self) -> None:
        text = self._text
        if not self._has_begun:
            found = self._opening.search(text, self._at)
            if found is None:
                self._at = len(text)
                return
            self._has_begun = True
            self._start = self._at = found.start()
        while self._whole is NO_VALUE:
            if self._in_string:
                found = _IN_STRING.search(text, self._at)
                if found is None:
                    self._at = len(text)
                    return
                if found[0] == "\\":
                    if found.end() == len(text):
                        # What is escaped comes with the next piece.
                        self._at = found.start()
                        return
                    self._at = found.end() + 1
                    continue
                self._in_string = False
                self._at = found.end()
                continue
            found = _STRUCTURE.search(text, self._at)
            if found is None:
                self._at = len(text)
                return
            self._at = found.end()
            self._take(found[0], found.start())

    def _take(self, mark: str, position: int) -> None:
        if mark == '"':
            self._in_string = True
        elif mark in "{[":
            if self._stack:
                self._stack[-1].expect_member(self._text, position)
            self._stack.append(_Open({} if mark == "{" else [], position + 1))
        elif mark == ":":
            self._stack[-1].take_key(self._text, position)
        else:
            container = self._stack[-1]
            container.end_member(self._text, position)
            if mark != ",":
                self._close(_CLOSING[mark], position + 1)

    def _close(self, kind: type[Any], end: int) -> None:
        members = self._stack[-1].members
        if type(members) is not kind:
            raise NotJSONError
        del self._stack[-1]
        if self._stack:
            self._stack[-1].put(members)
            self._stack[-1].since = end
        else:
            self._whole = members


class _Open:
    """A container that is being written."""

    __slots__ = ("has_member", "is_list", "key", "members", "since")

    def __init__(self, members: Any, since: int) -> None:
        self.members = members
        self.is_list = isinstance(members, list)
        self.key: Any = NO_VALUE
        # Where the text begins that is neither a finished member nor a key.
        self.since = since
        self.has_member = False

    def expect_member(self, text: str, position: int) -> None:
        """A container begins here."""
        if self.has_member or text[self.since : position].strip() or not self._may_have_member():
            raise NotJSONError

    def take_key(self, text: str, position: int) -> None:
        """A colon: what came before it is a key."""
        if self.is_list or self.key is not NO_VALUE:
            raise NotJSONError
        key = from_json(text[self.since : position])
        if not isinstance(key, str):
            raise NotJSONError
        self.key = key
        self.since = position + 1

    def end_member(self, text: str, position: int) -> None:
        """A comma or the end: what came before it is a member, unless it was a container, which is there already."""
        written = text[self.since : position].strip()
        if written:
            if self.has_member or not self._may_have_member():
                raise NotJSONError
            self.put(from_json(written))
        elif not self.has_member and self.key is not NO_VALUE:
            raise NotJSONError
        self.has_member = False
        self.since = position + 1

    def put(self, value: Any) -> None:
        """Add a finished member."""
        if self.is_list:
            self.members.append(value)
        else:
            self.members[self.key] = value
            self.key = NO_VALUE
        self.has_member = True

    def partial_string(self, text: str) -> Any:
        """Give the string that is being written, or whose end is not marked yet; `NO_VALUE` if there is none."""
        if self.has_member or not self._may_have_member():
            return NO_VALUE
        written = text[self.since :].lstrip()
        return from_json(written, allow_partial="trailing-strings") if written.startswith('"') else NO_VALUE

    def with_member(self, value: Any) -> Any:
        """Give a copy with `value`, which is unfinished, in its place."""
        if self.is_list:
            return [*self.members] if value is NO_VALUE else [*self.members, value]
        return {**self.members} if value is NO_VALUE else {**self.members, self.key: value}

    def _may_have_member(self) -> bool:
        return self.is_list or self.key is not NO_VALUE
