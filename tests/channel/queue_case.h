/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue as a line of the table in tests/sync/noun_cases.h. */
#ifndef MPROC__TESTS_QUEUE_CASE_H
#define MPROC__TESTS_QUEUE_CASE_H

#include "sync/noun_cases.h"

extern const noun_case queue_case, queue_priority_case;

#endif
