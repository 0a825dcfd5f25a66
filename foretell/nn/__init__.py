"""Layers: embeddings, dropout, attention, recurrent cells, output heads."""
