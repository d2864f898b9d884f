"""A message class of one's own, with a field of its own. Messages cannot be changed once they are made."""

from pydantic import ValidationError

from miniagents import Message


class CustomMessage(Message):
    """A message with a field that a type checker knows."""

    custom_field: str


if __name__ == "__main__":
    message = CustomMessage("Hello", custom_field="Custom Value")
    print(message.content)  # Output: Hello
    print(message.custom_field)  # Output: Custom Value

    try:
        message.custom_field = "Another Value"
    except ValidationError:
        print("A message stays as it is: any number of agents may read it at the same time.")
