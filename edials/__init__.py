"""edials: share face images without sharing who is on them."""

__version__ = "0.1.0.dev0"

from .anonymizer import EDIALSAnonymizer
from .models.attribute_classifier import AttributeClassifier
from .models.autoencoder import AdversarialAutoencoder
from .models.identity_classifier import IdentityClassifier
from .models.surrogate_decoder import SurrogateDecoder
from .persistence import load, save
from .release.result import AnonymizationResult

__all__ = [
    "AdversarialAutoencoder",
    "AnonymizationResult",
    "AttributeClassifier",
    "EDIALSAnonymizer",
    "IdentityClassifier",
    "SurrogateDecoder",
    "load",
    "save",
]
