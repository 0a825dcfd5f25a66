"""From text to batches: corpora, tokenisers, token stores."""
