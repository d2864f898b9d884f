"""What the adapters of several providers are made of: clients, streams of HTTP, and what Claude takes anywhere."""
