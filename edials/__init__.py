"""edials: share face images without sharing who is on them."""

__version__ = "0.1.0.dev0"

from .anonymizer import EDIALSAnonymizer
from .attributes import AttributeClassifier
from .autoencoder import AdversarialAutoencoder
from .outcome import AnonymizationResult
from .persistence import load, save
from .recognizer import IdentityClassifier

__all__ = [
    "AdversarialAutoencoder",
    "AnonymizationResult",
    "AttributeClassifier",
    "EDIALSAnonymizer",
    "IdentityClassifier",
    "load",
    "save",
]
