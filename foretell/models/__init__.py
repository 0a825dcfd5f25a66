"""Models: neural backbones, `(tokens, state) -> (hidden, state)`, and n-grams."""
