"""
Explain an identity decision
============================

SHAP values of the decision "who is it" over the latent features, drawn by shap.
"""

import matplotlib.pyplot as plt
import shap

from edials import AdversarialAutoencoder, EDIALSAnonymizer, IdentityClassifier
from edials.datasets import make_faces

faces = make_faces(10, 10, size=32, random_state=0)
anonymizer = EDIALSAnonymizer(
    AdversarialAutoencoder("tiny", max_epochs=10, random_state=0),
    identity_classifier=IdentityClassifier("tiny", max_epochs=20, random_state=0),
    strength=1.0,
    random_state=0,
)
anonymizer.fit(faces.images, identity=faces.identity)

# %%
# One row per image and one column per latent feature; the values sum to the decision's logit
# less its mean over the background.
explanation = anonymizer.explain(faces.images[:10])
print(explanation.shape)

# %%
# The features that matter most for the first ten photos, on average.
shap.plots.bar(explanation, max_display=8, show=False)
plt.tight_layout()
plt.show()
