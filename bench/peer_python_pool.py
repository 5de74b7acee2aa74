# SPDX-License-Identifier: BSD-2-Clause
# Python's pools of 2 processes, ns an item: executor COUNT (submit, then result, one at a time), map COUNT CHUNK (Pool.map; a
# chunk of 0 is its default).
import sys
import time

try:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
except ImportError:
    sys.exit(77)


def work(x):
    return x * 0.5 + 1.0


def by_executor(count):
    with ProcessPoolExecutor(2) as pool:
        for i in range(20):
            pool.submit(work, i).result()
        begin = time.monotonic_ns()
        for i in range(count):
            pool.submit(work, i).result()
        return (time.monotonic_ns() - begin) / count


def by_map(count, chunk):
    with multiprocessing.Pool(2) as pool:
        items = [float(i) for i in range(count)]
        pool.map(work, items[:1000], chunk or None)
        begin = time.monotonic_ns()
        pool.map(work, items, chunk or None)
        return (time.monotonic_ns() - begin) / count


def main():
    count = int(sys.argv[2])
    took = by_executor(count) if sys.argv[1] == "executor" else by_map(count, int(sys.argv[3]))
    print("%.6g" % took)


if __name__ == "__main__":
    main()
