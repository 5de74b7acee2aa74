#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/array: the same totals by every start method, and a message for one that does not exist.
set -eu
for method in fork spawn forkserver thread; do
    said=$(examples/array $method)
    if [ "$said" != "4000 4000 1.5" ]; then
        echo "$method: $said"
        exit 1
    fi
done
if examples/array nothing 2>/dev/null; then
    echo "a start method that does not exist went unnoticed"
    exit 1
fi
