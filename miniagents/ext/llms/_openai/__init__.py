"""OpenAI's two protocols: chat completions, which many servers speak, and the Responses API."""
