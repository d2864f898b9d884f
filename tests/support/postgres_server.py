"""A server of Postgres for the tests: the one that is there, or one that is started for them and goes away with them.

TEST_POSTGRES_URL names another one than that at 127.0.0.1:5432. With TEST_POSTGRES_OWN=1 neither of them is asked, and
one is started, if the programs of PostgreSQL are installed.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

USUAL_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
_HIGHEST_PRIVILEGES = 0
_LONGEST_START_S = 20.0


class NoPostgresError(Exception):
    """There is no server, and none can be started; says why."""


class OwnServer:
    """A server in a temporary folder, on a port that was free; `stop()` removes both."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="miniagents-postgres-"))
        self._as_user: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Make a database and start the server.

        Raises:
            NoPostgresError: one of its programs has failed.
        """
        try:
            if os.geteuid() == _HIGHEST_PRIVILEGES:
                self._be_somebody_else()
            data = str(self._folder / "data")
            # What a test has written need not outlive the machine.
            self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
            self._run("pg_ctl", "-D", data, "-l", str(self._folder / "log"), "-w", "-o", options, "start")
        except BaseException:
            self.stop()
            raise

    def _be_somebody_else(self) -> None:
        # PostgreSQL refuses to work with the privileges of root.
        if shutil.which("runuser"):
            self._as_user = ["runuser", "-u", "postgres", "--"]
        elif shutil.which("setpriv"):
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        else:
            raise NoPostgresError("PostgreSQL refuses root, and there is neither `runuser` nor `setpriv`")
        try:
            shutil.chown(self._folder, "postgres", "postgres")
        except LookupError as error:
            raise NoPostgresError(f"PostgreSQL refuses root, and there is no user of its own: {error}") from error

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), *arguments]
        # Not into pipes: the server inherits them, and they would not end before it does.
        with tempfile.TemporaryFile() as told:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, timeout=_LONGEST_START_S, cwd="/"
            )
            told.seek(0)
            if done.returncode != 0:
                raise NoPostgresError(f"`{program}` failed: {told.read().decode(errors='replace')[-500:]}")

    def stop(self) -> None:
        """Stop the server, if it runs, and remove the folder."""
        data = self._folder / "data"
        if (data / "postmaster.pid").exists():
            with contextlib.suppress(NoPostgresError):
                self._run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)


_own: list[OwnServer] = []


def postgres_server(at_the_end: Callable[[Callable[[], None]], None]) -> str:
    """Give the URL of a server. One that is started here is the same for all who ask; `at_the_end(stop)` is called then.

    Raises:
        NoPostgresError: there is none, and none can be started.
    """
    named = os.environ.get("TEST_POSTGRES_URL")
    if named:
        return named
    if not os.environ.get("TEST_POSTGRES_OWN") and _answers("127.0.0.1", 5432):
        return USUAL_URL
    if not _own:
        programs = folder_of_programs(_folders())
        if programs is None:
            raise NoPostgresError(
                "no Postgres at 127.0.0.1:5432 (another one: set TEST_POSTGRES_URL), and the programs of PostgreSQL are "
                "not installed, so that none can be started"
            )
        server = OwnServer(programs)
        server.start()
        at_the_end(stop_own)
        _own.append(server)
    return _own[0].url


def stop_own() -> None:
    """Stop what was started here."""
    while _own:
        _own.pop().stop()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def _folders() -> Iterable[Path]:
    yield from (Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    versions = Path("/usr/lib/postgresql")
    # The latest version first.
    yield from sorted(versions.glob("*/bin"), key=lambda folder: (len(folder.parent.name), folder), reverse=True)


def folder_of_programs(folders: Iterable[Path]) -> Path | None:
    """Give the first folder that has what makes a database and what starts a server; None if there is none."""
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)
