"""Made-up faces, drawn by a small renderer."""
