"""What the messages of a conversation with a model are called, and how they differ: in their role."""

from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage

user_message = UserMessage("Hello!")
system_message = SystemMessage("System message")
assistant_message = AssistantMessage("Assistant message")

if __name__ == "__main__":
    for message in (user_message, system_message, assistant_message):
        print(f"{type(message).__name__}: role={message.role!r}, text={str(message)!r}")
