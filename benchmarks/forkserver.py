# SPDX-License-Identifier: Apache-2.0
"""What we are beside in a call: a function in a process of multiprocessing's forkserver.

A script of its own, because each process of multiprocessing imports the main module again, and
that of the benchmarks would take ten times as long as all the rest. `forkserver.py process|pool`:
for each line it calls once and prints the nanoseconds until the result was there.
"""

import sys
import time

import payload

if __name__ == "__main__":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["payload"])

    def in_a_process() -> None:
        process = context.Process(target=payload.nothing)
        process.start()
        process.join()
        assert process.exitcode == 0
        process.close()

    with ProcessPoolExecutor(1, mp_context=context) as pool:
        if sys.argv[1] == "pool":

            def call() -> None:
                pool.submit(payload.nothing).result()
        else:
            call = in_a_process
        call()
        for _ in sys.stdin:
            started = time.perf_counter_ns()
            call()
            print(time.perf_counter_ns() - started, flush=True)
