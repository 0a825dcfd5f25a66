"""Batches: windows of running text, packed rows, masking."""
