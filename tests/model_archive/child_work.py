"""Work for a child process."""

import os
import time


def report_and_sleep() -> None:
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)


def divide(by: int) -> float:
    return 1 / by


def crash() -> None:
    os._exit(1)
