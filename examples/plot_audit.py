"""
Audit a blur
============

Attack the release of any anonymizer, here a Gaussian blur, with attackers that adapt to it.
"""

import matplotlib.pyplot as plt

from edials.audit import RiskDisplay, audit
from edials.baselines import GaussianBlur
from edials.datasets import make_faces

faces = make_faces(18, 12, size=32, random_state=0)
blurred = GaussianBlur(sigma=3.0).fit_transform(faces.images)

# %%
# "quick" has linear attackers; "standard" trains networks as well.
report = audit(
    faces.images,
    blurred,
    identity=faces.identity,
    attributes=faces.attributes[["age", "gender"]],
    attackers="quick",
    random_state=0,
)
print(report.summary())

# %%
# Attackers who learn from blurred photos recognise nearly everybody in other blurred photos. Those
# who know only the attributes are right as often as the dashed line says.
RiskDisplay.from_report(report)
plt.show()
