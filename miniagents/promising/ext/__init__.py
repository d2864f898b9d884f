"""What is built on promises but is not needed by them."""
