"""System calls are repeated if the kernel asks for it, and replaced if a filter refuses them."""

from __future__ import annotations

import errno
import os

import pytest

from nsenter._host import syscalls
from nsenter._host.syscalls import Failure


class Kernel:
    """Answers a call with EAGAIN some times, and then with 7."""

    def __init__(self, times: int, number: int = errno.EAGAIN) -> None:
        self.times, self.number, self.calls = times, number, 0

    def __call__(self, operation: str, subject: object, *_: object) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise Failure(operation, subject, self.number)
        return 7


CALLS = {
    "openat2": lambda: syscalls.openat2(syscalls.AT_FDCWD, "/", os.O_RDONLY),
    "bpf": lambda: syscalls.bpf("load", 5, b""),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_made_again_when_the_kernel_asks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(3)
    monkeypatch.setattr(syscalls, "call", kernel)
    assert CALLS[name]() == 7
    assert kernel.calls == 4


@pytest.mark.parametrize("name", CALLS)
def test_it_is_not_made_again_for_ever(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(1_000_000)
    monkeypatch.setattr(syscalls, "call", kernel)
    with pytest.raises(Failure) as caught:
        CALLS[name]()
    assert caught.value.errno == errno.EAGAIN
    assert 10 < kernel.calls < 1000


@pytest.mark.parametrize("name", CALLS)
def test_another_error_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(1, errno.EPERM)
    monkeypatch.setattr(syscalls, "call", kernel)
    with pytest.raises(Failure):
        CALLS[name]()
    assert kernel.calls == 1


def test_a_listing_that_is_no_procs_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors that it leaves out would stay open."""

    def refuse(operation: str, subject: object, *arguments: object) -> int:
        if operation == "close_range":
            raise Failure(operation, subject, errno.ENOSYS)
        return real(operation, subject, *arguments)

    real = syscalls.call
    monkeypatch.setattr(syscalls, "call", refuse)
    monkeypatch.setattr(syscalls, "file_system_type", lambda fd: 0x01021994)  # tmpfs
    with pytest.raises(Failure, match="close_range"):
        syscalls.close_range(1000, 2000)


def test_the_directory_of_a_process_takes_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise Failure("pidfd_open", pid, errno.EPERM)

    monkeypatch.setattr(syscalls, "pidfd_open", refuse)
    fd = syscalls.signal_handle(os.getpid())
    try:
        syscalls.send_signal(fd, os.getpid(), 0)
    finally:
        os.close(fd)
    with pytest.raises(ProcessLookupError):
        syscalls.signal_handle(999_999_999)
