"""What several test folders share: a loopback server that speaks the wire protocols of the model providers."""
