/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of tortured objects: one line for each torture_case. Included twice by torture.c. */
TORTURE_CASE(torture_lock)
TORTURE_CASE(torture_queue)
TORTURE_CASE(torture_queue_acknowledged)
TORTURE_CASE(torture_queue_lifo)
TORTURE_CASE(torture_queue_priority)
TORTURE_CASE(torture_sync)
TORTURE_CASE(torture_sync_stopped)
TORTURE_CASE(torture_lock_handover)
TORTURE_CASE(torture_permit_handover)
TORTURE_CASE(torture_cleanup)
