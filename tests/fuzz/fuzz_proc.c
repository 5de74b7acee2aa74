/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts of /proc: what a parser takes from them lies within them, and a name changes nothing but the name. */
#include "platform/base.h"

#include <string.h>

#include "fuzz/fuzz.h"
#include "platform/machine.h"
#include "platform/proc.h"

static void stat_fuzz(const char *text, size_t length)
{
    mproc__proc_stat stat;
    if (!mproc__proc_stat_parse(text, length, &stat))
        return;
    FUZZ_CHECK(memchr(stat.name, '\0', sizeof stat.name) != NULL);
    FUZZ_CHECK(stat.pid > 0);
}

/* The input is the name: whatever it holds, what stands behind it is read. */
static void name_fuzz(const char *text, size_t length)
{
    static const char head[] = "42 (",
                      tail[] = ") S 7 5 6 0 -1 64 1 0 3 0 11 12 13 14 20 -5 3 0 99 8192 4 1\n";
    char line[4096 + sizeof head + sizeof tail];
    mproc__proc_stat stat;
    size_t bytes = sizeof head - 1;
    memcpy(line, head, bytes);
    memcpy(line + bytes, text, length);
    bytes += length;
    memcpy(line + bytes, tail, sizeof tail - 1);
    FUZZ_CHECK(mproc__proc_stat_parse(line, bytes + sizeof tail - 1, &stat));
    FUZZ_CHECK(stat.pid == 42 && stat.state == 'S' && stat.parent_pid == 7 && stat.start_ticks == 99 &&
               stat.nice == -5);
    FUZZ_CHECK(strlen(stat.name) < sizeof stat.name);
    FUZZ_CHECK(length > 63 || memchr(text, '\0', length) ||
               (memcmp(stat.name, text, length) == 0 && !stat.name[length]));
}

static void status_fuzz(const char *text, size_t length)
{
    mproc__proc_status status;
    mproc__proc_line value;
    mproc__proc_status_parse(text, length, &status);
    if (mproc__proc_key_find(text, length, "Groups", &value))
        FUZZ_CHECK(value.begin >= text && value.begin <= value.end && value.end <= text + length);
    (void)mproc__proc_key_number(text, length, "Pss", 0);
}

static void net_fuzz(mproc__proc_net net, const char *text, size_t length)
{
    mproc__proc_line line;
    mproc__proc_socket socket;
    for (const char *at = text; mproc__proc_line_next(&at, text + length, &line);) {
        FUZZ_CHECK(line.begin >= text && line.begin <= line.end && line.end <= text + length);
        if (!mproc__proc_socket_parse(net, line, &socket))
            continue;
        FUZZ_CHECK(socket.inode > 0 && socket.net == net && socket.state != NULL);
        FUZZ_CHECK(!socket.path ||
                   (socket.path >= line.begin && socket.path + socket.path_bytes == line.end));
    }
}

static void machine_fuzz(const char *text, size_t length)
{
    mproc_machine machine = {0};
    mproc__machine_memory_parse(text, length, &machine);
    mproc__machine_load_parse(text, length, &machine);
    mproc__machine_stat_parse(text, length, &machine);
    FUZZ_CHECK(machine.busy_ns >= 0 && machine.idle_ns >= 0);
}

/* A copy of its own size, so that a look behind it is seen. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    unsigned mode = fuzz_byte(&data, &size_bytes) % 16;
    char *text = malloc(size_bytes ? size_bytes : 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size_bytes);
    if (mode == 0)
        stat_fuzz(text, size_bytes);
    else if (mode == 1)
        name_fuzz(text, size_bytes < 4096 ? size_bytes : 4096);
    else if (mode == 2)
        status_fuzz(text, size_bytes);
    else if (mode == 3)
        machine_fuzz(text, size_bytes);
    else
        net_fuzz((mproc__proc_net)(mode % MPROC__PROC_NETS), text, size_bytes);
    free(text);
    return 0;
}
