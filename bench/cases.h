/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of measured cases: one line for each bench_case that a bench_*.c defines. Included twice by bench.c. */
BENCH_CASE(bench_condition)
BENCH_CASE(bench_condition_100)
BENCH_CASE(bench_event)
BENCH_CASE(bench_event_100)
BENCH_CASE(bench_sleepers)
BENCH_CASE(bench_queue_rate)
BENCH_CASE(bench_queue_round_trip)
BENCH_CASE(bench_sync_lock)
BENCH_CASE(bench_sync_lock_recursive)
BENCH_CASE(bench_sync_lock_contended)
BENCH_CASE(bench_sync_value_add)
BENCH_CASE(bench_sync_value_add_anew)
