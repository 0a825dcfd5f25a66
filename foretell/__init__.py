"""foretell: train language models on your own text, compare them fairly, carry them over."""
