"""What users call: train, load, mix."""
