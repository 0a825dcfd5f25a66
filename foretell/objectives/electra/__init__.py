"""ELECTRA: a generator, a discriminator, and the objective that trains both (arXiv:2003.10555)."""
