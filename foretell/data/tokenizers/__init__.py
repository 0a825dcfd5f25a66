"""Tokenizers: their kinds, training and files."""
