"""Text to bits and back: arithmetic coding by the predictions of any model, and the compressors it is compared with."""
