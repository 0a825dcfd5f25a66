"""Fine-tuning tasks: objectives that learn from labelled examples."""
