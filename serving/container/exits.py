"""Why the container ended: a code for each reason, so that whoever runs it can tell them apart (docs/container.md)."""

from enum import IntEnum


class Exit(IntEnum):
    STOPPED = 0, "stopped by SIGTERM or SIGINT; everything accepted was answered"
    BUG = 1, "a bug of fruity; the log has the traceback"
    SETTING = 10, "a variable of the environment has a value that is not allowed"
    PORT = 11, "PORT is taken, or may not be used by this user"
    KEYS = 12, "API_KEYS cannot be read, or is no list of keys"
    TLS = 13, "the TLS certificate or its key cannot be used"
    ARCHIVE = 14, "MODEL_URI names no archive that can be fetched, or the archive cannot be read"
    PERMISSION = 15, "MODEL_URI names a place that this container may not read"
    SIGNATURE = 16, "the archive is not signed by PUBLIC_KEY, or was altered"
    SPACE = 17, "no space, or nowhere to write"
    MEMORY = 18, "the container has too little memory"
    CLOCK = 19, "the clock is far off"
    MODEL = 20, "the model did not answer in time after the start"
    TORCHSERVE = 21, "TorchServe ended by itself"
    FRONT = 22, "nginx ended by itself, or does not start"

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


class Ending(Exception):
    """The container has to end; its text is the one line that says why."""

    def __init__(self, exit_code: Exit, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
