# SPDX-License-Identifier: Apache-2.0
"""An executor for concurrent.futures whose workers are processes in namespaces.

The workers keep running between calls.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from threading import Lock

from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import undo
from nsenter._inside.call_from_bytes import call_each
from nsenter._interpreter.module_archive import extensions_of
from nsenter._remote.call_bytes import EncodedCall, pack
from nsenter.calling import Caller, Worker, WorkerDied
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    from nsenter._remote.preload import Preloaded

    P = ParamSpec("P")
    T = TypeVar("T")
else:
    from nsenter._remote.call_hints import Any, Callable, P, T

__all__ = ["BrokenInitializer", "BrokenPreload", "BrokenWorker", "NamespaceExecutor"]


class BrokenInitializer(NsenterError, BrokenExecutor):
    """The initializer failed in a worker.

    The exception of the initializer is the `__cause__`. The executor calls nothing more.
    """


class BrokenPreload(NsenterError, BrokenExecutor):
    """A module of `preload` could not be imported.

    The `__cause__` says why. The executor calls nothing more.
    """


class BrokenWorker(WorkerDied, BrokenExecutor):
    """The worker ended before it answered. The executor goes on with another worker."""


class NamespaceExecutor(Executor):
    """Call functions in worker processes, each in its own namespaces.

    If a call is submitted and no worker is free, a worker is started. A worker takes one call after
    another. If a worker dies, or its call takes too long, only that call fails: the next call gets
    a new worker.

    A call can see what earlier calls have left in its worker: modules, globals of modules and of a
    script's functions (unless the caller has changed these globals in the meantime), threads,
    files. A hostile function can also answer in place of the functions that its worker runs later.
    Give a hostile function its own worker: ``max_tasks_per_child=1``. ``fresh`` separates calls
    that are not hostile: each call runs in a fork of the worker, in the worker's namespaces.

    With ``preload``, workers are forks of a template: an interpreter that has imported these
    modules, and holds nothing else of this process. Each fork creates its own namespaces. With both
    ``preload`` and ``fresh``, each call has such a fork and such namespaces, and one call leaves
    nothing for the next. All forks share the layout of their memory: the addresses, and the seed of
    the hashes of strings. Random number generators that are seeded when they are imported, such as
    the global one of numpy, give the same numbers in each fork; those of the random module do not.

    Workers end when this process ends, for whatever reason, also in the middle of a call. (Without
    a new PID namespace, a fork that ``fresh`` made ends only when its call ends.)

    Args:
        max_workers: how many workers can run at once. None means the number of CPUs that this
            process may use.
        options: the namespaces of each worker. None means the same as for `nsenter.Caller`.
        initializer: a callable that is called once in each worker when it has started.
        initargs: the arguments of `initializer`.
        max_tasks_per_child: replace a worker after this many calls. None means never.
        fresh: run each call in a fork of its worker, which ends with the call; with `preload`, in a
            worker of its own.
        preload: names of modules that the template imports from this Python's files, in addition to
            those of `modules`. They are available in every root, also in one without files. The
            template imports them outside the namespaces, with the rights of this process and an
            empty environment. What they print then is dropped.
        **settings: the other fields of `nsenter.Caller`, such as `timeout`. They apply to each
            call.

    Raises:
        TypeError, ValueError: an argument is not valid.
        SerializationError: the initializer or one of its arguments cannot be sent.
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
        self._as_data = not caller.trusted
        initial = pack(initializer, initargs, {}, as_data=self._as_data) if initializer else None
        # Each thread waits for one worker at a time. ThreadPoolExecutor already queues calls,
        # cancels them, and ends with the interpreter.
        self._threads = ThreadPoolExecutor(max_workers, thread_name_prefix="nsenter")
        self._workers = _Workers(caller, initial, max_tasks_per_child, fresh, forks)
        # An executor that is garbage collected, or that exists at exit, leaves no process behind.
        self._finalizer = weakref.finalize(self, self._workers.close_when_done)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call of a function to a worker.

        Args:
            fn: the function.
            *args, **kwargs: its arguments.

        Returns:
            A Future with the value of the call. The errors of the call are those of `Caller.call`.

        Raises:
            SerializationError: the function or an argument cannot be sent.
            BrokenInitializer: the initializer has failed.
            BrokenPreload: a module of `preload` could not be imported.
            RuntimeError: the executor has been shut down.
        """
        self._workers.check()
        encoded = pack(fn, args, kwargs, as_data=self._as_data, keeps=True)
        future: Future[T] = self._threads.submit(self._workers.run, encoded)
        self._workers.expect(future)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Call a function with each of the items, like concurrent.futures.Executor.map.

        Args:
            fn: the function.
            *iterables: the items. The function gets one argument from each iterable.
            timeout: how many seconds to wait for the results, counted from this call. None means no
                limit.
            chunksize: how many items one call takes. A larger number is faster for small functions.
                The limits of a call, such as its timeout and max_answer, then apply to all of its
                items together.

        Returns:
            An iterator over the values, in the order of the items.

        Raises:
            ValueError: `chunksize` is not a positive integer.
            Exception: the same as `submit`. The iterator raises the errors of the calls.
        """
        if not isinstance(chunksize, int) or chunksize < 1:
            raise ValueError(f"chunksize must be a whole number, at least 1, not {chunksize!r}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        items = zip(*iterables, strict=False)
        chunks = iter(lambda: list(islice(items, chunksize)), [])
        pack(fn, (), {}, as_data=self._as_data)  # if fn cannot be sent, the error is about fn
        done = super().map(call_each, repeat(fn), chunks, timeout=timeout)
        return chain.from_iterable(done)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The workers end when all submitted calls are done.

        Args:
            wait: return only when all submitted calls are done.
            cancel_futures: cancel the calls that have not started.
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
    """The workers of an executor. It keeps the free ones and starts new ones."""

    def __init__(
        self,
        caller: Caller,
        initial: EncodedCall | None,
        most_tasks: int | None,
        fresh: bool,
        forks: Preloaded | None,
    ) -> None:
        self._caller = caller
        self._initial = initial
        self._most_tasks = 1 if fresh and forks else most_tasks
        self._forks_itself = fresh and not forks
        self._forks = forks
        # The modules that each new worker is sent: all that any worker was ever found to lack.
        self._modules = initial.modules if initial else frozenset()
        self._lock = Lock()
        self._free: list[_Warm] = []
        self._used: list[_Warm] = []  # closed when the results of their calls are set
        self._unfinished = 0
        self._closing = False
        self._failure: Exception | None = None

    def check(self) -> None:
        """Raise BrokenInitializer or BrokenPreload if the executor is broken."""
        if isinstance(self._failure, BrokenPreload):
            raise BrokenPreload(str(self._failure)) from self._failure.__cause__
        if self._failure is not None:
            raise BrokenInitializer("the initializer failed in a worker") from self._failure

    def run(self, encoded: EncodedCall) -> Any:
        """Run a call in a free worker, or in a new one, and return its value."""
        warm = self._free_one(encoded.modules) or self._new_one(encoded.modules)
        try:
            self._fork_ahead()
            return warm.run(encoded)
        finally:
            if warm.worker.is_usable:
                with self._lock:
                    used = warm.tasks == self._most_tasks
                    (self._used if used else self._free).append(warm)
            else:
                warm.worker.close()

    def _free_one(self, modules: frozenset[str]) -> _Warm | None:
        """Return the free worker that was used last; None if there is none.

        The worker is closed, and None is returned, if it cannot import these modules, has died, or
        has sent something unasked.
        """
        with self._lock:
            if not self._free:
                return None
            warm = self._free.pop()
        if warm.worker.is_usable and warm.has(modules):
            return warm
        warm.worker.close()
        return None

    def _fork_ahead(self) -> None:
        """Make the fork for the next call while this call runs, if each call takes a fork."""
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
        """Close the workers, now or as soon as no call can need one."""
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
    """A running worker, and the modules that it can import."""

    def __init__(self, worker: Worker, modules: frozenset[str], caller: Caller) -> None:
        self.worker = worker
        self.tasks = 0
        self._modules = modules
        self._checks_extensions = caller.extensions is None
        self._imports = caller.imports

    def has(self, modules: frozenset[str]) -> bool:
        """Whether the worker can import these modules.

        The code of a Python module can be sent later; a C extension cannot.
        """
        if self.worker.has_files or modules <= self._modules:
            return True
        if not self._imports:
            return False
        if self._checks_extensions and not extensions_of(modules) <= self.worker.extensions:
            return False
        self._modules |= modules
        return True

    def run(self, encoded: EncodedCall) -> Any:
        self.tasks += 1
        try:
            return self.worker.run(encoded)
        except WorkerDied as died:
            raise BrokenWorker(died.returncode) from None
