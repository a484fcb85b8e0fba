"""What leaves a fitted anonymizer: generation, certification, results, streams."""
