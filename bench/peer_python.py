# SPDX-License-Identifier: BSD-2-Clause
# Python's multiprocessing.Queue, called as peer.h says: what this library is measured against most of all.
import os
import sys
import time

try:
    import multiprocessing
except ImportError:
    sys.exit(77)

SEND_MOST_S = 0.5


def send_all(queue, size, messages, pinned, fill):
    if pinned:
        pin(1)
    message = b"x" * size
    end = time.monotonic() + SEND_MOST_S
    for i in range(1, messages):
        if fill:
            message = bytes([i & 63]) * size
        queue.put(message)
        if time.monotonic() > end:
            break
    queue.put(b"e" * size)


def pin(side):
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[min(side, len(cpus) - 1)]})


def main():
    size, messages = int(sys.argv[1]), int(sys.argv[2])
    pinned, fill = sys.argv[3] == "pinned", "fill" in sys.argv[4:]
    # Without a bound, as it is mostly used and fastest; large messages bounded, so that memory is.
    queue = multiprocessing.Queue(0 if size < 65536 else 16)
    child = multiprocessing.Process(target=send_all, args=(queue, size, messages, pinned, fill))
    child.start()
    if pinned:
        pin(0)
    received = 0
    message = b""
    while message[:1] != b"e":
        message = queue.get()
        if fill:
            message.count(b"e")
        if received == 0:
            start = time.monotonic()
        received += 1
    rate = (received - 1) / (time.monotonic() - start)
    child.join()
    if child.exitcode != 0:
        sys.exit(1)
    print("%.6g" % rate)


main()
