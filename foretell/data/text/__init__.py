"""Text: files, corpora, held-out splits."""
