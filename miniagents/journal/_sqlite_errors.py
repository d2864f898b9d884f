"""What an error of SQLite means."""

from miniagents.journal.errors import JournalCorruptError, JournalError, JournalLockedError


def as_journal_error(error: Exception, place: str) -> JournalError:
    """Give the error of ours that says what this one of SQLite means."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return JournalLockedError("Another process has kept the file locked for too long", place=place)
    if "malformed" in text or "not a database" in text:
        return JournalCorruptError(f"The file is damaged, or no journal: {text}", place=place)
    if "readonly" in text:
        return JournalError(
            "The file, or its folder, is read-only, or a file with `-wal` or `-shm` behind the name belongs to another "
            "user",
            place=place,
        )
    if "full" in text:
        return JournalError("There is no room left for it: the disk is full, or `max_bytes` is reached", place=place)
    if "unable to open" in text:
        return JournalError("The file cannot be opened: is it a folder, or may you not read it?", place=place)
    return JournalError(f"SQLite says: {text}", place=place)
