"""The container's exit codes, one for each reason to end; docs/container.md says what each means."""

from enum import IntEnum


class ExitCode(IntEnum):
    STOPPED = 0
    BUG = 1
    SETTING = 10
    PORT = 11
    KEYS = 12
    TLS = 13
    ARCHIVE = 14
    PERMISSION = 15
    SIGNATURE = 16
    SPACE = 17
    MEMORY = 18
    CLOCK = 19
    MODEL = 20
    TORCHSERVE = 21
    PROXY = 22


class ContainerExit(Exception):
    """The container must end; the message is the one line that says why."""

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
