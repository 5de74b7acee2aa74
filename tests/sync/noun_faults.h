/* SPDX-License-Identifier: BSD-2-Clause */
/* The fault loops that every noun goes through. */
#ifndef MPROC__TESTS_NOUN_FAULTS_H
#define MPROC__TESTS_NOUN_FAULTS_H

#include "support/faultloop.h"
#include "sync/noun_cases.h"

/* Adds create, open, attach, first use, blocking call and close of these nouns, at each home. */
void noun_faults_add(Suite *suite, const noun_case *nouns, unsigned count);

#endif
