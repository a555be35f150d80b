"""Base policies behind one protocol."""
