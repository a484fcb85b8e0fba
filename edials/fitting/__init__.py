"""What fit does, in its order."""
