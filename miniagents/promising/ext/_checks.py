"""What must not be in a frozen object, and the words in which it is refused."""

import sys


def check_field_name(name: object) -> None:
    """Refuse a field name that cannot be stored.

    Raises:
        ValueError: it is no string, or it ends like the references that stand for nested messages.
    """
    if not isinstance(name, str):
        raise ValueError(f"A field is named by a string, not by {name!r}.")  # noqa: TRY004 - pydantic reports it
    if name.endswith(("__hash_key", "__hash_keys")):
        raise ValueError(
            f"`{name}`: names that end in `__hash_key` or `__hash_keys` stand for nested messages in the stored form. "
            "Choose another name."
        )
    check_text(name, "the name of a field")


def check_text(text: str, field: str) -> None:
    """Refuse text that UTF-8 cannot hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"`{field}` cannot be frozen: {text!r} has a lone surrogate, which is no character and has no place in "
                "UTF-8. Decode the bytes it came from with `errors='replace'`."
            ) from None


def refusal(value: object, field: str, why: str) -> ValueError:
    """Give the error that says why `value` cannot be frozen, and what can."""
    return ValueError(
        f"`{field}` cannot be frozen: {value!r}: {why}. Allowed are `None`, strings, numbers, booleans, bytes, UUIDs, "
        "dates and times, paths, enum members, frozensets of those, lists, tuples, dicts and `Frozen` objects."
    )


def is_secret(value: object) -> bool:
    """Whether `value` is one of pydantic's secrets, which must not be stored."""
    # Where pydantic's types were never loaded, there is none.
    types = sys.modules.get("pydantic.types")
    return types is not None and isinstance(value, types.SecretStr | types.SecretBytes)
