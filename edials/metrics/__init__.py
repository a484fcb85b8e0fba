"""Metrics: pure functions of pictures, scores and people."""
