"""What is measured: pure functions of arrays, of pictures, scores and people."""
