/* SPDX-License-Identifier: BSD-2-Clause */
/* ./hello [fork|spawn|forkserver|thread]: one function in another process; what runs is the same by all. */
#include "try.h"

static int hello(mproc_call *call)
{
    const char *who = mproc_call_text(call, 0);
    int64_t times = mproc_call_int(call, 1);
    if (mproc_call_check(call) < 0)
        return MPROC_EARGUMENT;
    while (times-- > 0)
        printf("hello %s from %d\n", who, (int)getpid());
    return 7;
}

static mproc_start method(const char *name)
{
    static const char *const names[] = {"", "fork", "spawn", "forkserver", "thread"};
    for (int i = MPROC_START_FORK; i <= MPROC_START_THREAD; i++)
        if (strcmp(name, names[i]) == 0)
            return (mproc_start)i;
    return MPROC_START_DEFAULT;
}

int main(int argc, char **argv)
{
    TRY(mproc_init(&argc, &argv)); /* first: in a spawned child it does not return */
    mproc_process *process;
    int exit_code;
    TRY(mproc_process_start(hello, MPROC_ARGS("world", 3),
                            MPROC_WITH(mproc_process_options, .start = method(argc > 1 ? argv[1] : "")),
                            &process));
    TRY(mproc_process_join(process, MPROC_FOREVER, &exit_code));
    printf("exit code %d\n", exit_code);
    mproc_process_close(&process);
    return exit_code != 7;
}
