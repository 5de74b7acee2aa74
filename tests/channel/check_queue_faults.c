/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a queue asks of the system may be refused: tests/sync/noun_faults.c says what must then be true. */
#include "platform/base.h"

#include "channel/queue.h"
#include "channel/queue_case.h"
#include "sync/noun_faults.h"

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue faults");
    mproc__noun_register(&mproc__queue_noun);
    noun_faults_add(suite, &queue_case, 1);
    noun_faults_add(suite, &queue_priority_case, 1);
    return support_run(suite, argc, argv);
}
