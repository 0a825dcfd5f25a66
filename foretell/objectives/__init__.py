"""Training objectives: `(batch, state) -> Step`."""
