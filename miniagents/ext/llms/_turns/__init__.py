"""A model agent at work: from messages to a request, through one turn, to messages again."""
