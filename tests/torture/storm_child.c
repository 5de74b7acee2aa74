/* SPDX-License-Identifier: BSD-2-Clause */
/* What a child of the storm does: says that it runs, then takes the locks that a copy may have inherited taken. */
#include "platform/base.h"

#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc.h>

#include "platform/platform.h"
#include "torture/storm.h"

enum { FAULT_MEMORY = 20, FAULT_ALLOCATION, FAULT_STREAM, FAULT_LOCK, FAULT_NAME, FAULT_VARIANT };
enum { CALL_MS = 10000, BLOCKS = 32 };

static int say_ready(mproc_call *call)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), offset = (size_t)mproc_call_int(call, 1);
    int64_t now = mproc__now_ns();
    char *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, (int)mproc_call_arg(call, 0).number,
                    (off_t)(offset / page * page));
    if (at == MAP_FAILED)
        return FAULT_MEMORY;
    /* Two words: the time, and one to sleep on. */
    atomic_store((_Atomic int64_t *)(void *)(at + offset % page), now);
    _Atomic uint32_t *bell = (_Atomic uint32_t *)(void *)(at + offset % page + sizeof now);
    atomic_store(bell, 1);
    mproc__futex_wake(bell, INT_MAX, true);
    munmap(at, page);
    return 0;
}

/* Small and large, so that every arena and the break are asked. */
static int allocate(void)
{
    char *blocks[BLOCKS];
    int fault = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc((size_t)16 << i % 16);
        if (!blocks[i])
            fault = FAULT_ALLOCATION;
        else
            memset(blocks[i], 'x', 16);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return fault;
}

static int print(void)
{
    FILE *file = fopen("/dev/null", "we");
    if (!file)
        return FAULT_STREAM;
    int length = fprintf(file, "%s %d %g\n", "a line", 5, 2.5);
    mproc_log(MPROC_LOG_INFO, "child %d of the storm", (int)getpid());
    return fclose(file) == 0 && length > 0 && fflush(stdout) == 0 ? 0 : FAULT_STREAM;
}

static int lock(void)
{
    mproc_lock *own;
    if (mproc_lock_create(NULL, NULL, &own) < 0)
        return FAULT_LOCK;
    int rc = mproc_lock_acquire(own, mproc_after_ms(CALL_MS));
    if (rc == 0)
        rc = mproc_lock_release(own);
    mproc_lock_close(&own);
    return rc == 0 ? 0 : FAULT_LOCK;
}

static int resolve(void)
{
    struct addrinfo *list = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &list) != 0)
        return FAULT_NAME;
    freeaddrinfo(list);
    return 0;
}

int storm_child(mproc_call *call)
{
    int fault = say_ready(call);
    if (fault == 0)
        fault = allocate();
    if (fault == 0)
        fault = print();
    if (fault == 0)
        fault = lock();
    if (fault == 0 && mproc_call_bool(call, 2))
        fault = resolve();
    return fault ? fault : STORM_EXIT_CODE;
}
