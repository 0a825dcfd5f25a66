"""What a language model is carried over to: tasks are objectives that learn from examples."""
