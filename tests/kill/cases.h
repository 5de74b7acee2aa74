/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of swept operations: one line for each kill_case that a sweep_*.c defines. Included twice by killsweep.c. */
KILLSWEEP_CASE(killsweep_lock_acquire)
KILLSWEEP_CASE(killsweep_lock_release)
KILLSWEEP_CASE(killsweep_event_set)
KILLSWEEP_CASE(killsweep_event_set_waited)
KILLSWEEP_CASE(killsweep_event_clear)
KILLSWEEP_CASE(killsweep_event_clear_waited)
KILLSWEEP_CASE(killsweep_event_wait)
KILLSWEEP_CASE(killsweep_queue_put)
KILLSWEEP_CASE(killsweep_queue_get)
KILLSWEEP_CASE(killsweep_toy_sound)
KILLSWEEP_CASE(killsweep_toy_torn)
KILLSWEEP_CASE(killsweep_toy_silent)
