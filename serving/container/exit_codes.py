"""The container's exit codes, one for each reason to end (docs/container.md has the table)."""

from enum import IntEnum


class ExitCode(IntEnum):
    STOPPED = 0, "stopped by SIGTERM or SIGINT; every accepted request was answered"
    BUG = 1, "a bug of fruity; the log has the traceback"
    SETTING = 10, "an environment variable has a value that is not allowed"
    PORT = 11, "PORT is in use, or this user may not use it"
    KEYS = 12, "the file of API_KEYS cannot be read, or has no valid list of keys"
    TLS = 13, "the TLS certificate or its key cannot be used"
    ARCHIVE = 14, "the archive of MODEL_URI cannot be fetched, or an archive cannot be read"
    PERMISSION = 15, "this container has no permission to read MODEL_URI"
    SIGNATURE = 16, "the archive has no valid signature for PUBLIC_KEY"
    SPACE = 17, "there is no free space, or the run folder is not writable"
    MEMORY = 18, "the container has too little memory"
    CLOCK = 19, "the clock is wrong by more than a day"
    MODEL = 20, "the model did not answer within START_TIMEOUT_S"
    TORCHSERVE = 21, "TorchServe ended unexpectedly"
    PROXY = 22, "nginx ended unexpectedly, or did not start"

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


class ContainerExit(Exception):
    """The container must end; the message is the one line that says why."""

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
