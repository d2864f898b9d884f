"""Structured output: from a type to a JSON schema, and from the text of a model to a value of that type."""
