"""The image, run by docker or podman without network and privileges."""

import json
import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.image import find_engine

READY_S = 120
HARDENED = ["--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges"]
HARDENED += ["--memory", "2g", "--tmpfs", "/tmp:rw,size=512m,mode=1777"]  # noqa: S108
CLIENT = Path(__file__).with_name("image_client.py").read_text()


@dataclass
class RunningImage:
    name: str
    image: str
    clients: "dict[str, subprocess.Popen[str]]" = field(default_factory=dict)
    """By the name of their container."""

    def ask(self, *arguments: str) -> Any:
        """Return the output of a client in a second container with this one's network; see image_client.py."""
        return json.loads(self.start_client(*arguments).communicate(timeout=READY_S)[0])

    def start_client(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start such a client; its output is read from its stdout."""
        name = f"{self.name}-client-{len(self.clients)}"
        options = ["--rm", "--name", name, f"--network=container:{self.name}", "--entrypoint", "python"]
        self.clients[name] = subprocess.Popen(
            [find_engine(), "run", *options, self.image, "-c", CLIENT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self.clients[name]

    def start_load(self) -> "subprocess.Popen[str]":
        """Start clients that ask until they are refused, and return once they have their first answers."""
        client = self.start_client("load")
        assert client.stdout is not None
        assert json.loads(client.stdout.readline()) == "under load"
        return client

    def run_inside(self, *command: str) -> str:
        return engine("exec", self.name, *command)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while (answer := self.ask("get", "/readyz"))["status"] != 200:
            assert time.monotonic() < deadline, f"{answer}\n{self.log_text()}"
            time.sleep(0.5)

    def wait(self) -> int:
        """Return the exit code once the container has ended."""
        return int(engine("wait", self.name))

    def log_text(self) -> str:
        done = subprocess.run([find_engine(), "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines()]

    def remove(self) -> None:
        """Remove the container, and before it its clients: podman keeps one whose network others use."""
        for name, client in self.clients.items():
            # The block waits for the client and closes its pipe.
            with client:
                if client.poll() is None:
                    engine("rm", "--force", name)
        engine("rm", "--force", self.name)


@contextmanager
def run_image(
    image: str, *options: str, command: tuple[str, ...] = (), network: str = "none", wait: bool = True
) -> Iterator[RunningImage]:
    """Run *image* while the block does, with further *options* of the engine."""
    name = f"fruity-test-{uuid.uuid4().hex[:12]}"
    engine("run", "--detach", "--name", name, "--network", network, *HARDENED, *options, image, *command)
    running = RunningImage(name, image)
    try:
        if wait:
            running.wait_until_ready()
        yield running
    finally:
        running.remove()


def engine(*arguments: str) -> str:
    done = subprocess.run([find_engine(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments[:4])} failed: {done.stderr[-2000:]}"
    return done.stdout


def image_name() -> str | None:
    return os.environ.get("IMAGE")
