/* SPDX-License-Identifier: BSD-2-Clause */
/* The threads beside the storm: each takes locks of libc's, or the library's, all the time. */
#include "platform/base.h"

#include <dlfcn.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <mproc.h>

#include "platform/platform.h"
#include "torture/storm.h"

static _Atomic bool noise_stops;
static FILE *noise_file;

static void allocate(unsigned long turn)
{
    void *block = malloc(turn % 512 + 1);
    void *larger = block ? realloc(block, turn % 4096 * 16 + 1) : NULL;
    free(larger ? larger : block);
}

static void print(unsigned long turn)
{
    fprintf(noise_file, "line %lu of the storm\n", turn);
    mproc_log(MPROC_LOG_INFO, "line %lu", turn);
    if (turn % 64 == 0)
        syslog(LOG_DEBUG, "line %lu", turn);
    if (turn % 256 == 0)
        fflush(NULL);
}

static void resolve(unsigned long turn)
{
    struct addrinfo *list;
    (void)turn;
    if (getaddrinfo("localhost", "80", NULL, &list) == 0)
        freeaddrinfo(list);
}

/* Part of libc's own package, and loaded by nobody. Each closing runs the finishing functions under libc's lock of them. */
static void load(unsigned long turn)
{
    (void)turn;
    void *library = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        library = dlopen(NULL, RTLD_NOW);
    (void)dlsym(library, "login_tty");
    dlclose(library);
}

static void tell_time(unsigned long turn)
{
    char text[64];
    struct tm parts;
    time_t now = (time_t)(turn * 1000);
    localtime_r(&now, &parts);
    strftime(text, sizeof text, "%A %d %B %Y %Z", &parts);
    locale_t other = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
    if (other)
        freelocale(other);
    setlocale(LC_NUMERIC, "C");
    setenv("MPROC_STORM", text, 1);
}

static void use_library(unsigned long turn)
{
    mproc_lock *lock;
    mproc_queue *queue;
    char item[8];
    size_t size_bytes;
    if (mproc_lock_create(NULL, NULL, &lock) == 0) {
        if (mproc_lock_acquire(lock, MPROC_NOW) == 0)
            mproc_lock_release(lock);
        mproc_lock_close(&lock);
    }
    if (turn % 4 == 0 && mproc_queue_create(NULL, NULL, &queue) == 0) {
        if (mproc_queue_put(queue, "item", 4, MPROC_NOW) == 0)
            (void)!mproc_queue_get(queue, item, sizeof item, MPROC_NOW, &size_bytes);
        mproc_queue_close(&queue);
    }
}

typedef struct noise {
    void (*make)(unsigned long turn);
    pthread_t thread;
    unsigned long turns; /* read when the thread has ended */
} noise;

static noise noises[] = {{.make = allocate}, {.make = print},     {.make = resolve},
                         {.make = load},     {.make = tell_time}, {.make = use_library}};

/* Between two turns it steps back: the machine belongs to the storm. */
static void *noise_run(void *context)
{
    noise *of = context;
    while (!atomic_load(&noise_stops)) {
        for (int i = 0; i < 20; i++)
            of->make(of->turns++);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return NULL;
}

static void log_nowhere(mproc_log_level level, const char *text, void *context)
{
    (void)level;
    FILE *file = context;
    fprintf(file, "%s\n", text);
}

int storm_noise_begin(void)
{
    noise_file = fopen("/dev/null", "we");
    if (!noise_file)
        return -errno;
    mproc_set_log(log_nowhere, MPROC_LOG_DEBUG, noise_file);
    atomic_store(&noise_stops, false);
    for (size_t i = 0; i < MPROC__COUNT(noises); i++) {
        noises[i].turns = 0;
        int rc = -pthread_create(&noises[i].thread, NULL, noise_run, &noises[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

bool storm_noise_end(void)
{
    bool all = true;
    atomic_store(&noise_stops, true);
    for (size_t i = 0; i < MPROC__COUNT(noises); i++) {
        pthread_join(noises[i].thread, NULL);
        all = all && noises[i].turns > 0;
    }
    mproc_set_log(NULL, 0, NULL);
    fclose(noise_file);
    return all;
}
