"""A photo in base64, as JSON has it."""

import base64

from handler.problem import MalformedRequest, Problem


def decode_base64(text: str) -> bytes | Problem:
    """Return the bytes of base64 with either alphabet (RFC 4648, 4 and 5), padded or not, or of a data URL of it."""
    if text.startswith("data:"):
        media_type, comma, text = text.partition(",")
        if not (media_type.endswith(";base64") and comma):
            return MalformedRequest("`b64` is a data URL without `;base64,`; send data:image/jpeg;base64,… or base64")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        reason = error
    try:
        # The standard alphabet is read first, because this takes longer.
        unpadded = text.rstrip("=")
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return MalformedRequest(f"`b64` is not base64 ({reason}); encode the photo's bytes without line breaks")
