"""`ProtocolServer`: what a test can tell the server, and ask it, wherever the server runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager

from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Reply


def first_user_text(request: RecordedRequest) -> str:
    """What tells conversations apart unless a test says otherwise: the first thing that the user said."""
    return request.first_user_text


class ProtocolServer(ABC):
    """A running server; made by `start_protocol_server()`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.openai_base_url = f"{self.url}/v1"
        self.anthropic_base_url = self.url
        self.vertex_base_url = f"{self.url}/v1"
        self.gemini_base_url = self.url
        self.bedrock_base_url = self.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the SDKs of OpenAI and Anthropic talk to this server."""
        return {
            "OPENAI_BASE_URL": self.openai_base_url,
            "OPENAI_API_KEY": "loopback-key",
            "ANTHROPIC_BASE_URL": self.anthropic_base_url,
            "ANTHROPIC_API_KEY": "loopback-key",
        }

    @property
    def environment_of_clouds(self) -> dict[str, str]:
        """The variables with which the SDKs for Azure, Google and Amazon, Claude's among them, talk to this server."""
        return {
            "AZURE_OPENAI_ENDPOINT": self.url,
            "AZURE_OPENAI_API_KEY": "loopback-key",
            "GOOGLE_GEMINI_BASE_URL": self.gemini_base_url,
            "GEMINI_API_KEY": "loopback-key",
            "ANTHROPIC_VERTEX_BASE_URL": self.vertex_base_url,
            "ANTHROPIC_BEDROCK_BASE_URL": self.bedrock_base_url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock_base_url,
            "AWS_ACCESS_KEY_ID": "loopback-key",
            "AWS_SECRET_ACCESS_KEY": "loopback-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    @abstractmethod
    def requests(self) -> list[RecordedRequest]:
        """Every request since the start, or since `reset()`, in the order of arrival."""

    @abstractmethod
    def script(self, *replies: Reply, key: str | None = None) -> None:
        """Answer the next requests with these, in the order in which the requests arrive.

        With a `key`, they are kept for the requests of one conversation: those whose first user message is exactly
        this text (see `key_by()`). Such a request takes from the common replies only when its own are used up. A
        request that is refused, for a wrong key of the API or a bad parameter, takes none. When no reply is left, and
        `answer_with()` was not called, the server echoes.
        """

    @abstractmethod
    def answer_with(self, reply: Reply) -> None:
        """Answer every request for which no reply is scripted with what this function returns for it.

        The function gets the `RecordedRequest` and may be async. It runs on the event loop of the server. An exception
        that it raises is kept in `errors`, and the client gets status 500. What is no function answers every request.
        """

    @abstractmethod
    def key_by(self, function: Callable[[RecordedRequest], str]) -> None:
        """Tell conversations apart by what this function returns, instead of by the first user message."""

    @property
    @abstractmethod
    def errors(self) -> list[Exception]:
        """What went wrong with the script itself: what its functions raised, what a protocol has no words for."""

    @abstractmethod
    def reset(self) -> None:
        """Forget requests, replies and functions, and open every gate that a test left closed."""

    @abstractmethod
    def open_gates(self) -> None:
        """Open the gates of all replies so far."""

    @abstractmethod
    def wait_for_ends(self, *, timeout_s: float = 30.0) -> None:
        """Wait until every request so far has ended; to be called before one asks how they did.

        A client that has its answer, or has left, knows it before the server does. This blocks the thread; async code
        awaits `ended()` of a request instead.

        Raises:
            TimeoutError: some have not ended in so many seconds; it says how many, and names the first.
        """

    @abstractmethod
    def stop_listening(self) -> None:
        """Refuse connections from now on, and break those that are open."""

    @abstractmethod
    def listen_again(self) -> None:
        """Accept connections on the same port again."""

    @contextmanager
    def refusing_connections(self) -> Generator[None]:
        """Inside of the block nobody listens on the port (`ECONNREFUSED`), and open connections are broken."""
        self.stop_listening()
        try:
            yield
        finally:
            self.listen_again()
