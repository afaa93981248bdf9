"""Memory that this process has freed and that its C library keeps."""

import ctypes


def return_freed_memory() -> None:
    """Return it to the system; a C library that cannot, as that of macOS, is left alone."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
