"""edials: share face images without sharing who is on them."""

from .anonymizer import AnonymizationResult, EDIALSAnonymizer
from .attributes import AttributeClassifier
from .autoencoder import AdversarialAutoencoder
from .recognizer import IdentityClassifier

__version__ = "0.1.0.dev0"

__all__ = [
    "AdversarialAutoencoder",
    "AnonymizationResult",
    "AttributeClassifier",
    "EDIALSAnonymizer",
    "IdentityClassifier",
]
