"""A kind of message with a field of its own."""

from miniagents import Message


class CustomMessage(Message):
    custom_field: str
