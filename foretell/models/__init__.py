"""Backbones: `(tokens, state) -> (hidden, state)`."""
