# SPDX-License-Identifier: Apache-2.0
"""An executor of concurrent.futures whose workers are processes in namespaces, kept warm."""

from __future__ import annotations

import os
import weakref
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from threading import Lock

from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import undo
from nsenter._inside.call_from_bytes import call_each
from nsenter._interpreter.module_archive import extensions_of
from nsenter._remote.call_bytes import pack
from nsenter.calling import Caller, Worker, WorkerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, ParamSpec, TypeVar

    from nsenter._remote.call_bytes import Parcel
    from nsenter._remote.preload import Preloaded
    from nsenter.options import Options

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["BrokenInitializer", "BrokenPreload", "BrokenWorker", "NamespaceExecutor"]


class BrokenInitializer(NsenterError, BrokenExecutor):
    """The initializer failed in a worker; its exception is the cause. Nothing more is called."""


class BrokenPreload(NsenterError, BrokenExecutor):
    """The modules to preload could not be imported; the cause says why. Nothing more is called."""


class BrokenWorker(WorkerDied, BrokenExecutor):
    """The worker ended before it answered. The executor goes on, with another."""


class NamespaceExecutor(Executor):
    """Calls functions in worker processes, each in namespaces of its own.

    A worker is started when there is a call and none is free, and takes one call after another.
    One that dies, or whose call takes too long, fails that call alone: the next has a new one.

    What a call leaves in its worker, the next one finds: modules, globals of modules and of a
    script's functions (unless the caller has changed them meanwhile), threads, files; and
    a hostile function may answer in the place of those that its worker runs after it.
    Give a hostile one a worker to itself by ``max_tasks_per_child=1``. ``fresh`` keeps apart what
    is not hostile, by a fork of the warm worker for each call, in the worker's namespaces.

    With ``preload``, workers are forks of a template: an interpreter that has imported these
    modules, and holds nothing else of this process's. Each fork makes namespaces of its own. With
    ``fresh`` too, each call has such a fork and such namespaces, and nothing of one call is left
    for the next. What all forks share is where their memory was when they were forked: the
    addresses, and the seed of the hashes of strings. Generators of random numbers that were seeded
    when they were imported, such as numpy's global one, go on alike in each; those of the random
    module do not.

    Workers end with this process, however it ends, also in the middle of a call. (Without a new
    pid namespace, a fork that ``fresh`` made ends only when its call does.)

    Args:
        max_workers: how many at once; None: as many as this process has CPUs.
        options: the namespaces of each; None: as for `nsenter.Caller`.
        initializer: called once in each worker that is started, with `initargs`.
        max_tasks_per_child: after so many calls a worker is replaced; None: never.
        fresh: each call has a fork of its worker, which ends with the call; with `preload`, a
            worker.
        preload: names of modules that a template imports, from this Python's files, besides those
            of `modules`. They are there in any root, also in one that shows no files. The template
            imports them outside of the namespaces, with the rights of this process and an empty
            environment; what they print then is dropped.
        settings: the other fields of `nsenter.Caller`, as `timeout`, of each call.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        options: Options | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        fresh: bool = False,
        preload: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        _check_count("max_workers", max_workers)
        _check_count("max_tasks_per_child", max_tasks_per_child)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        if not hasattr(initargs, "__iter__"):
            raise TypeError(f"initargs must be a sequence, not {initargs!r}")
        if not isinstance(fresh, bool):
            raise TypeError(f"fresh must be True or False, not {fresh!r}")
        if max_workers is None:
            max_workers = len(os.sched_getaffinity(0))
        caller = Caller(options, **settings)
        forks = _forks(preload, caller)
        self._plainly = not caller.trusted
        initial = pack(initializer, initargs, {}, plainly=self._plainly) if initializer else None
        # Each of its threads waits for one worker at a time. It knows how to queue, to cancel and
        # to end with the interpreter.
        self._threads = ThreadPoolExecutor(max_workers, thread_name_prefix="nsenter")
        self._workers = _Workers(caller, initial, max_tasks_per_child, fresh, forks)
        # What is collected or left at exit leaves no process behind.
        self._finalizer = weakref.finalize(self, self._workers.close_when_done)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called. Errors of the call are those of `Caller.call`.

        Raises:
            CannotTravel: the function or an argument cannot be sent.
            BrokenInitializer: the initializer has failed.
            BrokenPreload: a module of `preload` could not be imported.
            RuntimeError: after `shutdown`.
        """
        self._workers.check()
        parcel = pack(fn, args, kwargs, plainly=self._plainly, keeps=True)
        future: Future[T] = self._threads.submit(self._workers.run, parcel)
        self._workers.expect(future)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """As concurrent.futures.Executor.map.

        Args:
            chunksize: how many items one call takes; a larger number is faster for small functions.
                What holds for a call, as its timeout and max_answer, holds for all of them
                together.
        """
        if not isinstance(chunksize, int) or chunksize < 1:
            raise ValueError(f"chunksize must be a whole number, at least 1, not {chunksize!r}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        items = zip(*iterables, strict=False)
        chunks = iter(lambda: list(islice(items, chunksize)), [])
        pack(fn, (), {}, plainly=self._plainly)  # says what is bad about it
        done = super().map(call_each, repeat(fn), chunks, timeout=timeout)
        return chain.from_iterable(done)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The workers end when all that were submitted are done.

        Args:
            wait: until then.
            cancel_futures: drop those that have not started.
        """
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._finalizer()


def _forks(preload: Sequence[str], caller: Caller) -> Preloaded | None:
    if not preload:
        return None
    from nsenter._remote.preload import Preloaded, checked_names
    from nsenter.calling import extensions_from_memory

    modules = (*checked_names(preload), *caller.modules)
    return Preloaded(modules, extensions_from_memory(caller))


class _Workers:
    """The workers of an executor: those that are free, and how one is made."""

    def __init__(
        self,
        caller: Caller,
        initial: Parcel | None,
        most_tasks: int | None,
        fresh: bool,
        forks: Preloaded | None,
    ) -> None:
        self._caller = caller
        self._initial = initial
        self._most_tasks = 1 if fresh and forks else most_tasks
        self._forks_itself = fresh and not forks
        self._forks = forks
        # What each new worker takes along: all that one was ever found to lack.
        self._modules = initial.modules if initial else frozenset()
        self._lock = Lock()
        self._free: list[_Warm] = []
        self._used: list[_Warm] = []  # they end when the results of their calls are there
        self._unfinished = 0
        self._closing = False
        self._failure: Exception | None = None

    def check(self) -> None:
        """Raises BrokenInitializer, BrokenPreload."""
        if isinstance(self._failure, BrokenPreload):
            raise BrokenPreload(str(self._failure)) from self._failure.__cause__
        if self._failure is not None:
            raise BrokenInitializer("the initializer failed in a worker") from self._failure

    def run(self, parcel: Parcel) -> Any:
        """A call, in a free worker or a new one."""
        warm = self._free_one(parcel.modules) or self._new_one(parcel.modules)
        try:
            self._fork_ahead()
            return warm.run(parcel)
        finally:
            if warm.worker.is_usable:
                with self._lock:
                    used = warm.tasks == self._most_tasks
                    (self._used if used else self._free).append(warm)
            else:
                warm.worker.close()

    def _free_one(self, modules: frozenset[str]) -> _Warm | None:
        """The one that was used last; it is replaced where it cannot import what is needed, or
        has died or spoken unasked."""
        with self._lock:
            if not self._free:
                return None
            warm = self._free.pop()
        if warm.worker.is_usable and warm.has(modules):
            return warm
        warm.worker.close()
        return None

    def _fork_ahead(self) -> None:
        """What the next call takes is made while this one runs, if each takes one."""
        if self._forks is not None and self._most_tasks == 1 and not self._closing:
            self._forks.fork_ahead()

    def _new_one(self, modules: frozenset[str]) -> _Warm:
        self.check()
        with self._lock:
            self._modules = modules = self._modules | modules
        worker = self._started(modules)
        try:
            self._initialize(worker)
            if self._forks_itself:
                worker.fork_for_each()
        except BaseException as error:
            undo(error, worker.close)
            raise
        return _Warm(worker, modules, self._caller)

    def _started(self, modules: frozenset[str]) -> Worker:
        if self._forks is None:
            return Worker(self._caller, modules)
        from nsenter._remote.preload import PreloadFailed

        try:
            return Worker(self._caller, modules, self._forks)
        except PreloadFailed as error:
            self._failure = BrokenPreload(str(error))
            self._failure.__cause__ = error.__cause__
            self.check()
            raise

    def _initialize(self, worker: Worker) -> None:
        if self._initial is None:
            return
        try:
            worker.run(self._initial)
        except Exception as error:
            self._failure = error
            self.check()

    # ---- ending

    def expect(self, future: Future[Any]) -> None:
        """Count a call until it is done."""
        with self._lock:
            self._unfinished += 1
        future.add_done_callback(self._done)

    def _done(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1
            used, self._used = self._used, []
        for warm in used:
            warm.worker.close()
        if self._closing:
            self.close_when_done()

    def close_when_done(self) -> None:
        """Close the workers as soon as no call can want one."""
        with self._lock:
            self._closing = True
            ended = [] if self._unfinished else self._free + self._used
            if ended:
                self._free, self._used = [], []
            forks = None if self._unfinished else self._forks
        for warm in ended:
            warm.worker.close()
        if forks is not None:
            forks.close()


def _check_count(name: str, number: object) -> None:
    if number is None:
        return
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} must be a whole number or None, not {number!r}")
    if number < 1:
        raise ValueError(f"{name} must be greater than 0, not {number!r}")


class _Warm:
    """A worker that runs, and what it has along."""

    def __init__(self, worker: Worker, modules: frozenset[str], caller: Caller) -> None:
        self.worker = worker
        self.tasks = 0
        self._modules = modules
        self._checks_extensions = caller.extensions is None
        self._imports = caller.imports

    def has(self, modules: frozenset[str]) -> bool:
        """Whether it can import these. Their code can come later, C extensions cannot."""
        if self.worker.has_files or modules <= self._modules:
            return True
        if not self._imports:
            return False
        if self._checks_extensions and not extensions_of(modules) <= self.worker.extensions:
            return False
        self._modules |= modules
        return True

    def run(self, parcel: Parcel) -> Any:
        self.tasks += 1
        try:
            return self.worker.run(parcel)
        except WorkerDied as died:
            raise BrokenWorker(died.returncode) from None
