/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver for compilers without libFuzzer: every file of the corpus, then random changes to them.
 *
 *     fuzz_frame [CORPUS]      $MPROC_FUZZ_RUNS (20000) changes, from $MPROC_FUZZ_SEED (the clock, printed)
 *
 * After each input nothing may be left: no descriptor, no memory; and it may take 100 ms of processor time and 64 MiB at
 * most (SEC-5). A failure prints the input in hexadecimal, and how to run it again. */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#ifdef MPROC__SANITIZED
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { INPUT_BYTES = 4096, SEEDS = 64, LIMIT_MS = 100, LIMIT_KIB = 65536 };

typedef struct input {
    size_t size_bytes;
    uint8_t bytes[INPUT_BYTES];
} input;

static input seeds[SEEDS], now;
static size_t seed_count;
static uint64_t state, first_seed;
static unsigned run;

/* ---- the corpus ---- */

static void seed_read(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, seeds[seed_count].bytes, INPUT_BYTES);
    if (fd >= 0)
        close(fd);
    if (got < 0) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    seeds[seed_count++].size_bytes = (size_t)got;
}

static void corpus_read(const char *folder)
{
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort); /* sorted: a seed means the same everywhere */
    if (count < 0) {
        fprintf(stderr, "no corpus at %s\n", folder);
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.' && seed_count < SEEDS)
            seed_read(folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
}

/* $top_srcdir/tests/fuzz/corpus/frame for a program called fuzz_frame. */
static const char *corpus_of(const char *program)
{
    static char folder[4096];
    const char *name = strstr(program, "fuzz_"), *next, *top = getenv("top_srcdir");
    while (name && (next = strstr(name + 1, "fuzz_")))
        name = next;
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", top ? top : "..", name ? name + 5 : program);
    return folder;
}

/* ---- changes ---- */

static uint32_t random_below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % limit;
}

/* Puts a piece of some seed at a random place, over what is there or between. */
static void change_splice(void)
{
    const input *other = &seeds[random_below((uint32_t)seed_count)];
    if (other->size_bytes == 0)
        return;
    size_t from = random_below((uint32_t)other->size_bytes), at = random_below((uint32_t)now.size_bytes + 1);
    size_t length = 1 + random_below((uint32_t)(other->size_bytes - from));
    if (random_below(2) && now.size_bytes + length <= INPUT_BYTES) {
        memmove(now.bytes + at + length, now.bytes + at, now.size_bytes - at);
        now.size_bytes += length;
    }
    length = at + length > INPUT_BYTES ? INPUT_BYTES - at : length;
    memcpy(now.bytes + at, other->bytes + from, length);
    now.size_bytes = at + length > now.size_bytes ? at + length : now.size_bytes;
}

static void change_cut(void)
{
    if (now.size_bytes == 0)
        return;
    size_t at = random_below((uint32_t)now.size_bytes);
    size_t length = 1 + random_below((uint32_t)(now.size_bytes - at));
    memmove(now.bytes + at, now.bytes + at + length, now.size_bytes - at - length);
    now.size_bytes -= length;
}

static void change_byte(void)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    if (now.size_bytes == 0)
        return;
    uint8_t *byte = &now.bytes[random_below((uint32_t)now.size_bytes)];
    switch (random_below(4)) {
    case 0:
        *byte = edges[random_below(MPROC__COUNT(edges))];
        break;
    case 1:
        *byte = (uint8_t)random_below(256);
        break;
    case 2:
        *byte = (uint8_t)(*byte + (random_below(2) ? 1 : -1));
        break;
    default:
        *byte ^= (uint8_t)(1u << random_below(8));
    }
}

static void input_make(void)
{
    now = seeds[random_below((uint32_t)seed_count)];
    for (unsigned changes = 1 + random_below(8); changes > 0; changes--)
        switch (random_below(8)) {
        case 0:
            change_splice();
            break;
        case 1:
            change_cut();
            break;
        default:
            change_byte();
        }
}

/* ---- running ---- */

/* Async-signal-safe enough for a program that is about to end. */
static void input_print(int signal_number)
{
    fprintf(stderr, "seed %llu, input %u of %zu bytes:\n", (unsigned long long)first_seed, run,
            now.size_bytes);
    for (size_t i = 0; i < now.size_bytes; i++)
        fprintf(stderr, "%02x%s", now.bytes[i], i % 32 == 31 ? "\n" : "");
    fputc('\n', stderr);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int64_t processor_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * INT64_C(1000) + time.tv_nsec / 1000000;
}

static size_t memory_used(void)
{
    return SANITIZED ? 0 : mallinfo2().uordblks; /* the sanitizer looks for leaks itself */
}

/* How many there are: a poll answers at once, and tells of each that it is not open. */
static unsigned descriptors_open(void)
{
    enum { MANY = 128 };
    struct pollfd items[MANY];
    unsigned open = 0;
    for (int i = 0; i < MANY; i++)
        items[i] = (struct pollfd){.fd = i};
    FUZZ_CHECK(poll(items, MANY, 0) >= 0);
    for (int i = 0; i < MANY; i++)
        open += !(items[i].revents & POLLNVAL);
    return open;
}

static long memory_most_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void input_run(void)
{
    int64_t begin_ms = processor_ms();
    unsigned fds = descriptors_open();
    long most_kib = memory_most_kib();
    size_t memory = memory_used();
    LLVMFuzzerTestOneInput(now.bytes, now.size_bytes);
    FUZZ_CHECK(processor_ms() - begin_ms <= (SANITIZED ? 10 : 1) * LIMIT_MS);
    FUZZ_CHECK(memory_most_kib() - most_kib <= LIMIT_KIB);
    FUZZ_CHECK(descriptors_open() == fds);
    if (memory_used() > memory) { /* something may be allocated once in a life: a leak is there again */
        memory = memory_used();
        LLVMFuzzerTestOneInput(now.bytes, now.size_bytes);
        FUZZ_CHECK(memory_used() <= memory);
    }
    run++;
}

/* What malloc keeps in a thread's cache counts as used, and would look like a leak: without that cache, from the start. */
static void restart_uncached(char **argv)
{
    static const char tunables[] = "GLIBC_TUNABLES";
    if (SANITIZED || getenv(tunables))
        return;
    setenv(tunables, "glibc.malloc.tcache_count=0", 1);
    execv("/proc/self/exe", argv);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct timespec time;
    restart_uncached(argv);
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t runs = number_of("MPROC_FUZZ_RUNS", 20000);
    first_seed = number_of("MPROC_FUZZ_SEED", (uint64_t)time.tv_nsec + 1);
    state = first_seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    corpus_read(argc > 1 ? argv[1] : corpus_of(argv[0]));
    for (size_t i = 0; i < MPROC__COUNT(fatal); i++)
        signal(fatal[i], input_print);
    for (size_t i = 0; i < seed_count; i++) /* what is allocated once is allocated now */
        LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].size_bytes);
    for (size_t i = 0; i < seed_count; i++) {
        now = seeds[i];
        input_run();
    }
    for (uint64_t i = 0; i < runs; i++) {
        input_make();
        input_run();
    }
    printf("%s: %u inputs from %zu seeds, MPROC_FUZZ_SEED=%llu\n", argv[0], run, seed_count,
           (unsigned long long)first_seed);
    return 0;
}
