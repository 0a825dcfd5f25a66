"""What is trained: `(batch, state) -> Step`. The only noun the trainer knows."""
