/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts that /proc shows of one process. Takes any bytes: names are chosen by whoever wants to be misread. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "platform/proc.h"

/* PF_KTHREAD, field 9 of stat: the same since Linux 2.6.27. Only newer kernels (6.8) say it in words. */
enum { KERNEL_THREAD_FLAG = 0x00200000 };

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool mproc__proc_line_next(const char **at, const char *end, mproc__proc_line *ret_line)
{
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    ret_line->begin = *at;
    ret_line->end = newline ? newline : end;
    *at = newline ? newline + 1 : end;
    return true;
}

/* Numbers beyond int64 (limits that mean "none", addresses) saturate. */
bool mproc__proc_number(const char **at, const char *end, int64_t *ret_number)
{
    const char *now = *at;
    while (now < end && is_blank(*now))
        now++;
    bool negative = now < end && *now == '-';
    now += negative;
    if (now >= end || *now < '0' || *now > '9')
        return false;
    int64_t number = 0;
    for (; now < end && *now >= '0' && *now <= '9'; now++) {
        int digit = *now - '0';
        number = number > (INT64_MAX - digit) / 10 ? INT64_MAX : number * 10 + digit;
    }
    *ret_number = negative ? -number : number;
    *at = now;
    return true;
}

int64_t mproc__proc_ticks_ns(int64_t ticks)
{
    int64_t tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
    return ticks > INT64_MAX / tick_ns ? INT64_MAX : ticks * tick_ns;
}

/* ---- stat ---- */

/* Numbers of the fields behind the state, in their order; field 4 is the parent. */
enum {
    FIELD_PARENT = 4,
    FIELD_GROUP = 5,
    FIELD_SESSION = 6,
    FIELD_FLAGS = 9,
    FIELD_MINOR_FAULTS = 10,
    FIELD_MAJOR_FAULTS = 12,
    FIELD_USER = 14,
    FIELD_SYSTEM = 15,
    FIELD_CHILDREN_USER = 16,
    FIELD_CHILDREN_SYSTEM = 17,
    FIELD_NICE = 19,
    FIELD_THREADS = 20,
    FIELD_START = 22,
    FIELD_VMS = 23,
    FIELDS
};

static void name_copy(const char *begin, const char *end, char name[64])
{
    size_t bytes = (size_t)(end - begin);
    bytes = bytes < 63 ? bytes : 63;
    memcpy(name, begin, bytes);
    name[bytes] = '\0';
}

/* Behind the name stand a state and numbers only, so the last bracket is its end whatever the name holds. */
bool mproc__proc_stat_parse(const char *text, size_t length, mproc__proc_stat *ret_stat)
{
    const char *at = text, *end = text + length;
    const char *begin = memchr(text, '(', length), *close = memrchr(text, ')', length);
    int64_t pid, fields[FIELDS];

    if (!begin || !close || close < begin || !mproc__proc_number(&at, begin, &pid) || pid <= 0 ||
        end - close < 4)
        return false;
    at = close + 3;
    for (int i = FIELD_PARENT; i < FIELDS; i++)
        if (!mproc__proc_number(&at, end, &fields[i]))
            return false;
    *ret_stat = (mproc__proc_stat){.pid = pid,
                                   .parent_pid = fields[FIELD_PARENT],
                                   .group_pid = fields[FIELD_GROUP],
                                   .session_pid = fields[FIELD_SESSION],
                                   .state = close[2],
                                   .kernel_thread = (fields[FIELD_FLAGS] & KERNEL_THREAD_FLAG) != 0,
                                   .minor_faults = fields[FIELD_MINOR_FAULTS],
                                   .major_faults = fields[FIELD_MAJOR_FAULTS],
                                   .user_ticks = fields[FIELD_USER],
                                   .system_ticks = fields[FIELD_SYSTEM],
                                   .children_user_ticks = fields[FIELD_CHILDREN_USER],
                                   .children_system_ticks = fields[FIELD_CHILDREN_SYSTEM],
                                   .nice = fields[FIELD_NICE],
                                   .threads = fields[FIELD_THREADS],
                                   .start_ticks = (uint64_t)fields[FIELD_START],
                                   .vms_bytes = fields[FIELD_VMS]};
    name_copy(begin + 1, close, ret_stat->name);
    return fields[FIELD_START] >= 0;
}

/* ---- lines of "Key: value" ---- */

bool mproc__proc_key_find(const char *text, size_t length, const char *key, mproc__proc_line *ret_value)
{
    size_t key_bytes = strlen(key);
    mproc__proc_line line;
    for (const char *at = text; mproc__proc_line_next(&at, text + length, &line);)
        if ((size_t)(line.end - line.begin) > key_bytes && line.begin[key_bytes] == ':' &&
            memcmp(line.begin, key, key_bytes) == 0) {
            *ret_value = (mproc__proc_line){line.begin + key_bytes + 1, line.end};
            return true;
        }
    return false;
}

static int64_t size_take(const char *at, const char *end, int64_t otherwise)
{
    int64_t number;
    if (!mproc__proc_number(&at, end, &number))
        return otherwise;
    bool kib = end - at >= 3 && memcmp(at, " kB", 3) == 0;
    if (!kib)
        return number;
    return number > INT64_MAX / 1024 ? INT64_MAX : number < 0 ? otherwise : number * 1024;
}

int64_t mproc__proc_key_number(const char *text, size_t length, const char *key, int64_t otherwise)
{
    mproc__proc_line value;
    if (!mproc__proc_key_find(text, length, key, &value))
        return otherwise;
    return size_take(value.begin, value.end, otherwise);
}

/* ---- status ---- */

typedef struct status_key {
    const char *key;
    size_t bytes, offset;
    unsigned numbers;
} status_key;

#define STATUS_KEY(key, member, numbers)                                                                     \
    {                                                                                                        \
        key ":", sizeof(key), offsetof(mproc__proc_status, member), numbers                                  \
    }
/* In the file's order. */
static const status_key status_keys[] = {
    STATUS_KEY("Tgid", process_pid, 1),
    STATUS_KEY("Uid", uids, 3),
    STATUS_KEY("Gid", gids, 3),
    STATUS_KEY("VmHWM", rss_max_bytes, 1),
    STATUS_KEY("VmRSS", rss_bytes, 1),
    STATUS_KEY("RssFile", rss_file_bytes, 1),
    STATUS_KEY("RssShmem", rss_shmem_bytes, 1),
    STATUS_KEY("VmSwap", swap_bytes, 1),
    STATUS_KEY("voluntary_ctxt_switches", voluntary_switches, 1),
    STATUS_KEY("nonvoluntary_ctxt_switches", involuntary_switches, 1),
};

static void status_take(const status_key *key, const char *at, const char *end,
                        mproc__proc_status *ret_status)
{
    int64_t *numbers = (int64_t *)(void *)((char *)ret_status + key->offset);
    if (key->numbers == 1) {
        numbers[0] = size_take(at, end, 0);
        return;
    }
    for (unsigned i = 0; i < key->numbers; i++)
        if (!mproc__proc_number(&at, end, &numbers[i]))
            return;
}

/* One pass over the text; the first byte tells most lines from most keys. */
void mproc__proc_status_parse(const char *text, size_t length, mproc__proc_status *ret_status)
{
    mproc__proc_line line;
    *ret_status = (mproc__proc_status){.uids = {-1, -1, -1}, .gids = {-1, -1, -1}};
    for (const char *at = text; mproc__proc_line_next(&at, text + length, &line);)
        for (size_t i = 0; i < MPROC__COUNT(status_keys); i++) {
            const status_key *key = &status_keys[i];
            if ((size_t)(line.end - line.begin) >= key->bytes && *line.begin == *key->key &&
                memcmp(line.begin, key->key, key->bytes) == 0) {
                status_take(key, line.begin + key->bytes, line.end, ret_status);
                break;
            }
        }
}
