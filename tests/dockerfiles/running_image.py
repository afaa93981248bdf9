"""The image, run by whatever container engine there is, with nothing that it would not have on the internet."""

import json
import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.image import find_engine

READY_S = 120
# No way out: what a container asks, it asks itself, from a second container in the same network namespace.
HARDENED = ["--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges"]
HARDENED += ["--memory", "2g", "--tmpfs", "/tmp:rw,size=512m,mode=1777"]  # noqa: S108
CLIENT = Path(__file__).with_name("image_client.py").read_text()


@dataclass(frozen=True)
class RunningImage:
    name: str
    image: str

    def ask(self, *arguments: str) -> Any:
        """Return what a client in the container's own network namespace says; image_client.py has its verbs."""
        return json.loads(self.start_asking(*arguments).communicate(timeout=READY_S)[0])

    def start_asking(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start such a client; what it says is read from its stdout."""
        command = ["run", "--rm", f"--network=container:{self.name}", "--entrypoint", "python", self.image]
        return subprocess.Popen(
            [find_engine(), *command, "-c", CLIENT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run_inside(self, *command: str) -> str:
        return engine("exec", self.name, *command)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while (status := self.ask("get", "/readyz"))["status"] != 200:
            assert time.monotonic() < deadline, f"{status}\n{self.log_text()}"
            time.sleep(0.5)

    def wait(self) -> int:
        """Return the exit code once the container has ended."""
        return int(engine("wait", self.name))

    def inspect(self, template: str) -> str:
        return engine("inspect", self.name, "--format", template).strip()

    def log_text(self) -> str:
        done = subprocess.run([find_engine(), "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines()]


@contextmanager
def run_image(
    image: str, *options: str, command: tuple[str, ...] = (), network: str = "none", wait: bool = True
) -> Iterator[RunningImage]:
    """Run *image* with the engine's *options* more; it is gone after the block."""
    name = f"fruity-test-{uuid.uuid4().hex[:12]}"
    engine("run", "--detach", "--name", name, "--network", network, *HARDENED, *options, image, *command)
    running = RunningImage(name, image)
    try:
        if wait:
            running.wait_until_ready()
        yield running
    finally:
        engine("rm", "--force", name)


def engine(*arguments: str) -> str:
    done = subprocess.run([find_engine(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments[:4])} failed: {done.stderr[-2000:]}"
    return done.stdout


def image_name() -> str | None:
    return os.environ.get("IMAGE")
