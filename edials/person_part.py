"""What of the latents belongs to the person: taken off before anything is given back.

No direction of the latents is free of who somebody is. What a recogniser sees of a picture
foretells, a little, the latents of the same person's other photos; less that, the same features
tell less than half as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

# Photos of one person whose mean counts half, as for the identity basis.
_HALF_KNOWN = 10
# Of the regression, on embeddings whose features are about one in size. On LFW 10, 100 and 1000
# leave as much of the person; more of it leaves more of the picture.
_PENALTY = 100.0


@dataclass(frozen=True)
class PersonPart:
    """A linear map from a recogniser's embedding to the person's part of the latents.

    Attributes
    ----------
    centre : ndarray of shape (embedding_dim,)
    slope : ndarray of shape (embedding_dim, latent_dim)
        Zeros where nothing is known.
    """

    centre: NDArray[np.float32]
    slope: NDArray[np.float32]

    def taken_off(
        self, latents: NDArray[np.float32], embeddings: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Latents without the person's part.

        Parameters
        ----------
        latents : ndarray of shape (n, latent_dim)
        embeddings : ndarray of shape (n, embedding_dim)
            Of the same pictures. Rows that are no numbers, of a recogniser that cannot embed, take
            nothing off.

        Returns
        -------
        ndarray of shape (n, latent_dim)
        """
        # In double precision and rounded, as draws are: it must not matter how many rows there are.
        seen = np.nan_to_num(embeddings.astype(np.float64) - self.centre)
        return (latents - seen @ self.slope.astype(np.float64)).astype(np.float32)


def fit_person_part(
    latents: NDArray[np.float32], embeddings: NDArray[np.float32], people: NDArray[np.int64]
) -> PersonPart:
    """Learn to foretell, from how a photo is recognised, the person's other photos.

    A ridge regression of the mean latents of the person's other photos on the photo's embedding.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, latent_dim)
    embeddings : ndarray of shape (n_samples, embedding_dim)
        Unit rows, or NaN.
    people : ndarray of shape (n_samples,)
        Person codes; -1 where unknown, and these rows are left out. A photo counts by how well the
        mean of the others is known, and by the root of how many there are.

    Returns
    -------
    PersonPart

    References
    ----------
    Belrose et al. (2023), "LEACE: perfect linear concept erasure in closed form", takes a concept
    off by what foretells it linearly; here the person's latents are foretold by another network,
    and for people who are not in the data, too.
    """
    n_people = int(people.max(initial=-1)) + 1
    counts = np.bincount(people[people >= 0], minlength=n_people)
    rows = np.flatnonzero((people >= 0) & np.isfinite(embeddings).all(axis=1))
    rows = rows[counts[people[rows]] >= 2]
    nothing = PersonPart(
        np.zeros(embeddings.shape[1], np.float32),
        np.zeros((embeddings.shape[1], latents.shape[1]), np.float32),
    )
    if len(rows) < 2:
        return nothing
    own, photos = people[rows], counts[people[rows]]
    sums = np.zeros((n_people, latents.shape[1]))
    np.add.at(sums, own, latents[rows].astype(np.float64))
    others = (sums[own] - latents[rows]) / (photos - 1)[:, None]
    weights = (photos - 1) / (photos - 1 + _HALF_KNOWN) / np.sqrt(photos)
    scale = np.sqrt(embeddings.shape[1])
    centre = np.average(embeddings[rows].astype(np.float64), axis=0, weights=weights)
    regression = Ridge(alpha=_PENALTY).fit(
        scale * (embeddings[rows] - centre), others, sample_weight=weights / weights.mean()
    )
    return PersonPart(centre.astype(np.float32), (scale * regression.coef_.T).astype(np.float32))
