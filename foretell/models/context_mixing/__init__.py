"""Context mixing: the bits of bytes, predicted by many contexts whose predictions are mixed (as in PAQ and lpaq)."""
