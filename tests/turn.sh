#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs a test of `make check` when it is its turn, with -jN: turn.sh TEST [ARGUMENT...]
#
# Most programs wait more than they work (a condition's 13 s take half a second of CPU), so some run beside each other, each
# with a /dev/shm of its own, where the tests look for names that others left. Who may not have that (it takes root) runs them
# one after the other. Models and rules look at nobody and at no clock: they run beside any of them.
#
# Beside nothing run those that judge how soon somebody goes on, by what an idle machine needs. They wait for the models
# first, holding nothing meanwhile.
set -u
turn=${top_builddir:-.}/tests/turn.lock
quiet=${top_builddir:-.}/tests/quiet.lock
command -v flock >/dev/null 2>&1 || exec "$@"
case $1 in
*/tests/models/* | */tests/rules/*)
    exec flock -o -s "$quiet" "$@"
    ;;
*/check_killsweep | */check_liveness | */check_torture)
    exec flock -o -x "$quiet" flock -o -x "$turn" "$@"
    ;;
esac
if unshare -m mount -t tmpfs none /dev/shm 2>/dev/null; then
    exec flock -o -s "$turn" unshare -m sh -c 'mount -t tmpfs none /dev/shm && exec "$@"' sh "$@"
fi
exec flock -o -x "$turn" "$@"
