"""Layers: embeddings, dropout, recurrent cells, output heads."""
