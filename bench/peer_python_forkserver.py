# SPDX-License-Identifier: BSD-2-Clause
# Python's forkserver: Process.start and join of a function that does nothing, COUNT times; prints the median in us.
import sys
import time

try:
    import multiprocessing
except ImportError:
    sys.exit(77)


def nothing():
    pass


def start_and_join(context):
    begin = time.monotonic_ns()
    process = context.Process(target=nothing)
    process.start()
    process.join()
    took = time.monotonic_ns() - begin
    if process.exitcode != 0:
        sys.exit(1)
    return took


def main():
    context = multiprocessing.get_context("forkserver")
    start_and_join(context)  # makes the server
    took = sorted(start_and_join(context) for _ in range(int(sys.argv[1])))
    print("%.6g" % (took[len(took) // 2] / 1e3))


if __name__ == "__main__":
    main()
