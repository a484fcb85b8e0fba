"""The demonstration: made-up people, fitted, anonymized and audited in a few minutes."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from .._random import stage_seeds
from ..anonymizer import EDIALSAnonymizer
from ..audit import audit
from ..audit.report.charts import picture_sheet
from ..datasets import make_faces
from ..exceptions import IdentityLeakWarning
from ..models.attribute_classifier import AttributeClassifier
from ..models.autoencoder import AdversarialAutoencoder
from ..models.identity_classifier import IdentityClassifier
from ..models.surrogate_decoder import SurrogateDecoder

MADE_UP = "The people are made up: this shows what edials does, not how safe real faces are."
# Two slow cores need less than four minutes for these.
_PEOPLE, _PHOTOS, _VALIDATION, _PROBE, _CROWD, _SIZE = 54, 24, 3, 6, 1000, 48
_SHOWN = 10


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options to the parser."""
    parser = commands.add_parser(
        "demo",
        help="fit, anonymize and audit made-up faces",
        description="Make faces, fit, anonymize and audit, print the audit's summary and write its "
        "report and a sheet of pictures: a few minutes on two cores.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("edials-demo"), metavar="DIR", help="default: edials-demo"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> None:
    """Make faces, fit on some photos of everybody, anonymize all, audit, and write the report."""
    start = time.perf_counter()
    seeds = stage_seeds(options.seed, "faces", "crowd", "anonymizer", "audit")
    faces = make_faces(_PEOPLE, _PHOTOS, size=_SIZE, random_state=seeds["faces"])
    crowd = make_faces(_CROWD, 1, size=_SIZE, random_state=seeds["crowd"])
    photo = np.arange(len(faces.images)) % _PHOTOS
    probe = photo >= _PHOTOS - _PROBE
    validation = ~probe & (photo >= _PHOTOS - _PROBE - _VALIDATION)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdentityLeakWarning)  # the summary has the share released
        # Unlabelled people teach what faces look like; identity None marks them.
        anonymizer = _small_anonymizer(seeds["anonymizer"]).fit(
            np.concatenate([faces.images[~probe], crowd.images]),
            identity=np.concatenate([faces.identity[~probe], np.full(_CROWD, None, dtype=object)]),
            attributes=pd.concat([faces.attributes[~probe], crowd.attributes]),
        )
        released = anonymizer.transform(faces.images)
        report = audit(
            faces.images,
            released,
            identity=faces.identity,
            attributes=faces.attributes,
            split=np.select([probe, validation], ["probe", "validation"], "enrol"),
            attackers="quick",
            anonymizer=anonymizer,
            random_state=seeds["audit"],
            verbose=1,
        )
    shown = np.flatnonzero(probe)[:: _PROBE * max(1, _PEOPLE // _SHOWN)][:_SHOWN]
    originals = faces.images[shown]
    reconstructions = anonymizer.autoencoder_.reconstruct(originals)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.html").write_text(report.to_html(note=MADE_UP), encoding="utf-8")
    (options.out / "report.json").write_text(report.to_json(), encoding="utf-8")
    picture_sheet([originals, reconstructions, released[shown]]).save(options.out / "pictures.png")
    print(f"{MADE_UP}\n{report.summary()}")
    print(f"\n{time.perf_counter() - start:.0f} s; see {options.out / 'report.html'}")


def _small_anonymizer(seed: int) -> EDIALSAnonymizer:
    seeds = stage_seeds(seed, "autoencoder", "identity", "attributes", "draws")
    return EDIALSAnonymizer(
        AdversarialAutoencoder(
            "small", latent_dim=256, max_epochs=10, random_state=seeds["autoencoder"], verbose=1
        ),
        identity_classifier=IdentityClassifier(
            "tiny", max_epochs=40, random_state=seeds["identity"], verbose=1
        ),
        attribute_classifier=AttributeClassifier(
            "tiny", max_epochs=30, random_state=seeds["attributes"], verbose=1
        ),
        surrogate_decoder=SurrogateDecoder("small", max_epochs=10, verbose=1),
        strength=1.0,
        random_state=seeds["draws"],
    )
