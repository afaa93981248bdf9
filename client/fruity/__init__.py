"""Asks a fruity server what is on photos.

Errors:
    FruityError
    ├── PhotoRefused    the server cannot use this photo, or the file cannot be read; the next photo may be fine
    └── ServerError     the server does not answer photos
        ├── AccessDenied    it asks for another API key
        └── Unavailable     it cannot be reached, or is busy for longer than the client is patient
"""

from fruity.client import DEFAULT_URL, AsyncClient, Client, Photo
from fruity.failures import AccessDenied, FruityError, PhotoRefused, ServerError, Unavailable
from fruity.prediction import Description, Explanation, Label, Prediction

__all__ = [
    "DEFAULT_URL",
    "AccessDenied",
    "AsyncClient",
    "Client",
    "Description",
    "Explanation",
    "FruityError",
    "Label",
    "Photo",
    "PhotoRefused",
    "Prediction",
    "ServerError",
    "Unavailable",
]
