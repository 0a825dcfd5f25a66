"""The Python interface: train, load, mix."""
