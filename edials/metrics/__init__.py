"""Metrics: pure functions of pictures, scores and people.

Arguments have the same names and shapes in all modules:

- ``scores``, ``log_probabilities`` (n_samples, n_people): one column per person of the gallery
- ``people`` (n_samples,): person of each image, as a column of the scores
- ``cells`` (n_people,): attribute cell of each person
- ``table`` (n_people, n_people): mean score or success of everybody's images (rows) for everybody
  (columns)
- ``permutations`` (n_permutations, n_people): people permuted inside their cells
"""
