"""What is of use to all of the others: faults, secrets, settings, JSON, texts. Imports none of them."""
