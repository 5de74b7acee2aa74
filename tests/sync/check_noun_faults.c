/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever an object of these layers asks of the system may be refused: noun_faults.c says what must then be true. */
#include "platform/base.h"

#include "sync/noun_faults.h"
#include "sync/nouns.h"

int main(int argc, char **argv)
{
    mproc__nouns_register();
    Suite *suite = suite_create("noun faults");
    noun_faults_add(suite, noun_cases, noun_case_count());
    return support_run(suite, argc, argv);
}
