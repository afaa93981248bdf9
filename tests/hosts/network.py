"""Hosts on one machine: network namespaces on a switch of their own, which no other network reaches."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000  # of <sched.h>
# Of the addresses for tests between devices (RFC 2544).
_PREFIX = "198.18.0."
INTERFACE = "eth0"
"""Of each host, to the others."""


class NamespaceError(Exception):
    """This machine does not let this user make network namespaces."""


@dataclass(frozen=True)
class Host:
    """A network namespace with a loopback and an address of its own."""

    namespace: str
    address: str
    port: str
    """Of the switch, where the host is plugged in."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and the processes and threads that it starts, be on the host while the block runs."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as before,
            Path("/run/netns", self.namespace).open("rb") as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut_off(self) -> None:
        """Unplug the host: packets to it and from it vanish, and nobody is told."""
        _ip("-n", _switch(), "link", "set", self.port, "down")

    def plug_in(self) -> None:
        _ip("-n", _switch(), "link", "set", self.port, "up")

    def slow_down(self, kbit: int) -> None:
        """Let only *kbit* a second through to the host."""
        limit = f"rate {kbit}kbit burst 16kb latency 2s"
        _run("tc", "-n", _switch(), "qdisc", "add", "dev", self.port, "root", "tbf", *limit.split())

    def speed_up(self) -> None:
        _run("tc", "-n", _switch(), "qdisc", "del", "dev", self.port, "root")


@contextmanager
def connect_hosts(count: int) -> Iterator[tuple[Host, ...]]:
    """Yield the switch, which is a host, too, and *count* hosts; raise `NamespaceError`."""
    with ExitStack() as stack:
        switch = Host(_switch(), f"{_PREFIX}1", "switch")
        stack.enter_context(_namespace(switch.namespace))
        _ip("-n", switch.namespace, "link", "add", switch.port, "type", "bridge")
        _turn_on(switch.namespace, switch.port, switch.address)
        hosts = []
        for number in range(2, count + 2):
            host = Host(f"fruity-{os.getpid()}-{number}", f"{_PREFIX}{number}", f"port{number}")
            stack.enter_context(_namespace(host.namespace))
            peer = ("peer", "name", INTERFACE, "netns", host.namespace)
            _ip("-n", switch.namespace, "link", "add", host.port, "type", "veth", *peer)
            _ip("-n", switch.namespace, "link", "set", host.port, "master", switch.port, "up")
            _turn_on(host.namespace, INTERFACE, host.address)
            hosts.append(host)
        yield switch, *hosts


def _switch() -> str:
    # Tests may run beside each other.
    return f"fruity-{os.getpid()}-1"


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NamespaceError(
            "network namespaces cannot be made here; it takes root and the apt package iproute2"
        ) from error
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        # With its links.
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", name)


def _turn_on(namespace: str, interface: str, address: str) -> None:
    _ip("-n", namespace, "address", "add", f"{address}/24", "dev", interface)
    _ip("-n", namespace, "link", "set", interface, "up")


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    # `os.setns` comes with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns failed")
