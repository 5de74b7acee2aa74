#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# examples/supervisor: by each method all jobs but the deadly one are done, and each worker that died of it is replaced.
set -eu
for method in fork spawn forkserver; do
    said=$(examples/supervisor $method)
    if [ "$(echo "$said" | tail -n 1)" != "39 jobs done, 1 given up, 3 workers replaced" ]; then
        echo "$method: $said"
        exit 1
    fi
done
