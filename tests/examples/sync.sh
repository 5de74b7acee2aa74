#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/sync: the same bread by every start method.
set -eu
for method in fork spawn forkserver thread; do
    said=$(timeout 60 examples/sync $method)
    if [ "$said" != "360 loaves, 5 parts of flour to 3 of water" ]; then
        echo "$method: $said"
        exit 1
    fi
done
