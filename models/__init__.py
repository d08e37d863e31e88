"""Decoder language models as pure functions over a parameter pytree."""
