from collections.abc import Iterator

import pytest

from miniagents.testing.server import ProtocolServer, start_protocol_server


@pytest.fixture(scope="session")
def running_model_server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as server:
        yield server


@pytest.fixture
def model_server(running_model_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    """A server that speaks the protocols of all providers; the environment points all SDKs at it."""
    variables = {**running_model_server.environment, **running_model_server.environment_of_clouds, **FIXED}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    running_model_server.reset()
    yield running_model_server
    running_model_server.open_gates()


FIXED = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CLOUD_ML_REGION": "europe-west1",
    "ANTHROPIC_VERTEX_PROJECT_ID": "my-project",
    "OPENAI_API_VERSION": "2025-04-01-preview",
}
"""So that nothing that this machine knows of clouds is looked at."""
