#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The loop examples, by every start method that makes a process. Those whose library is missing were not built.
set -eu
want='the queue brought 55, the connection "hello", the event was set, the child ended with 7'
for loop in epoll libuv libevent; do
    if [ ! -x "examples/loop_$loop" ]; then
        [ "$loop" != epoll ] || exit 1
        echo "$loop: not installed, left out"
        continue
    fi
    for method in fork spawn forkserver; do
        said=$(timeout 60 "examples/loop_$loop" $method)
        if [ "$said" != "$loop: $want" ]; then
            echo "$loop, $method: $said"
            exit 1
        fi
    done
done
