"""What stands for `python`: client.py SERVER'S_SOCKET EXECUTABLE ARGUMENT… runs a module in a fork of the server.

Output, exit status and signals are those of the module. Everything but `-m MODULE` goes to a cold Python.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    address, executable, *arguments = sys.argv[1:]
    if arguments[:1] != ["-m"]:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  no shell is wanted
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        request = {
            "executable": executable,
            "module": arguments[1],
            "arguments": arguments[2:],
            "folder": os.getcwd(),  # noqa: PTH109  pathlib takes as long to import as all else here
            "environment": dict(os.environ),
        }
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile() as answers:
            forward_signals(int(answers.readline()))
            leave(int(answers.readline() or -signal.SIGKILL))


def forward_signals(group: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _: os.killpg(group, number))


def leave(code: int) -> None:
    """End as the module did: with its exit status, or by the signal that ended it."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
