"""How the verbs that publish and fetch end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPTED = 128 + signal.SIGINT


@contextmanager
def exit_on_failure(name: str, *failures: type[Exception]) -> Iterator[None]:
    """Exit with one line after one of *failures* or Ctrl-C; *name* begins it."""
    try:
        yield
    except failures as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; the same command resumes it", file=sys.stderr)
        sys.exit(_INTERRUPTED)
