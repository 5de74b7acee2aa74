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
#
# MPROC_TEST_LONG=no leaves out what lasts, and asks about the library, not about what the tarball has in it: in distcheck,
# after a check. Its programs are built there all the same.
set -u
case ${MPROC_TEST_LONG:-yes}:$1 in
no:*_faults | no:*_kill | no:*/twins_killed.sh | no:*/check_damage | no:*/check_start_clock | no:*/check_queue_bad_input | \
    no:*/check_condition_wait | no:*/check_listener_keyed | no:*/check_peer_key)
    echo "left out: it takes long, and was run by make check"
    exit 77
    ;;
esac
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
