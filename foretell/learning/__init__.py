"""Data modules: running text, rows of text, and labelled examples, for training and evaluation."""
