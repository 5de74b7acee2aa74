/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading /proc: one directory descriptor a process, one buffer, one pass over each text. L0.
 *
 * A descriptor of /proc/PID means one process for ever: when that one has ended every read through it fails, whoever has the
 * pid by then. So the identity is compared once, when it is opened. */
#ifndef MPROC__PLATFORM_PROC_H
#define MPROC__PLATFORM_PROC_H

#include <sys/types.h>

#include <mproc/running.h>
#include "platform/base.h"

/* ---- proc_file.c: whole files ---- */

/* A text that grows: begins in the struct, so that most files need no allocation. Always NUL-ended behind `length`. */
enum { MPROC__PROC_TEXT_BYTES = 4096 };
typedef struct mproc__proc_text {
    char *bytes; /* inside, or allocated */
    size_t length, capacity;
    char inside[MPROC__PROC_TEXT_BYTES];
} mproc__proc_text;

void mproc__proc_text_begin(mproc__proc_text *text);
void mproc__proc_text_end(mproc__proc_text *text);
/* Replaces the text by the whole of a file below `directory_fd` (AT_FDCWD: an absolute path). -ESRCH: the process, or the
 * file, is gone; -EACCES; -EFBIG: more than MPROC__PROC_FILE_BYTES; -ENOMEM; else -errno. No story. */
enum { MPROC__PROC_FILE_BYTES = 256 << 20 };
int mproc__proc_read(int directory_fd, const char *file, mproc__proc_text *text);
/* By one read where it fits: stat and status. */
int mproc__proc_read_record(int directory_fd, const char *file, mproc__proc_text *text);
/* The same of a link's target. */
int mproc__proc_link(int directory_fd, const char *file, mproc__proc_text *text);

/* ---- proc_parse.c: texts of one process; takes any bytes ---- */

typedef struct mproc__proc_stat {
    int64_t pid, parent_pid, group_pid, session_pid;
    char state;
    bool kernel_thread;
    char name[64];
    int64_t minor_faults, major_faults;
    int64_t user_ticks, system_ticks, children_user_ticks, children_system_ticks;
    int64_t nice, threads;
    uint64_t start_ticks;
    int64_t vms_bytes;
} mproc__proc_stat;
/* Whether it is a line of /proc/PID/stat. The name may hold brackets, blanks and newlines. */
bool mproc__proc_stat_parse(const char *text, size_t length, mproc__proc_stat *ret_stat);

typedef struct mproc__proc_status {
    int64_t process_pid; /* Tgid; 0: not told */
    int64_t uids[3], gids[3];
    int64_t rss_bytes, rss_max_bytes, rss_file_bytes, rss_shmem_bytes,
        swap_bytes; /* 0: kernel threads, zombies */
    int64_t voluntary_switches, involuntary_switches;
} mproc__proc_status;
/* Of /proc/PID/status; lines that are missing are 0, and -1 for users and groups: nobody is taken for root. */
void mproc__proc_status_parse(const char *text, size_t length, mproc__proc_status *ret_status);

/* Steps through lines: false at the end. `*at` moves; a line has no newline. */
typedef struct mproc__proc_line {
    const char *begin, *end;
} mproc__proc_line;
bool mproc__proc_line_next(const char **at, const char *end, mproc__proc_line *ret_line);
/* Skips blanks and reads a decimal number: false, and nothing moved, when there is none. Saturates. */
bool mproc__proc_number(const char **at, const char *end, int64_t *ret_number);
/* What stands behind "Key:" in the first line that begins so; false: no such line. */
bool mproc__proc_key_find(const char *text, size_t length, const char *key, mproc__proc_line *ret_value);
/* The number behind "Key:", times 1024 when "kB" follows; `otherwise` when missing. */
int64_t mproc__proc_key_number(const char *text, size_t length, const char *key, int64_t otherwise);

int64_t mproc__proc_ticks_ns(int64_t ticks);

/* ---- proc_net.c: tables of sockets; takes any bytes ---- */

typedef enum mproc__proc_net {
    MPROC__PROC_TCP,
    MPROC__PROC_TCP6,
    MPROC__PROC_UDP,
    MPROC__PROC_UDP6,
    MPROC__PROC_UNIX,
    MPROC__PROC_NETS
} mproc__proc_net;
extern const char *const mproc__proc_net_files[MPROC__PROC_NETS]; /* below /proc/PID: "net/tcp" */

typedef struct mproc__proc_socket {
    uint64_t inode;
    mproc__proc_net net;
    const char *state;                /* "LISTEN"; static */
    const char *type;                 /* unix: "stream"; static */
    uint8_t local[16], remote[16];    /* addresses in network order; 4 bytes for version 4 */
    uint16_t local_port, remote_port; /* remote port 0: not connected */
    const char *path;                 /* unix: in the text; NULL: none */
    size_t path_bytes;
} mproc__proc_socket;
/* One line of such a table; false: it is none (its headline, garbage). */
bool mproc__proc_socket_parse(mproc__proc_net net, mproc__proc_line line, mproc__proc_socket *ret_socket);

/* ---- running.c ---- */

typedef struct mproc__running_view {
    int directory_fd; /* of /proc/PID; the caller closes it */
    mproc__proc_stat stat;
    mproc__proc_status status;
    int64_t cpu_ns; /* -1: not told */
} mproc__running_view;
/* Opens a process's directory and makes sure that it is the one meant. `text` holds its status afterwards. With a story. */
int mproc__running_open(mproc_running which, mproc__proc_text *text, mproc__running_view *ret_view);
/* Only who it is: fills in the pid that is 0 and the start that is 0. */
int mproc__running_resolve(mproc_running which, mproc_running *ret_which);
/* Whether /proc counts as this process does: MPROC_ENAMESPACE, or -EACCES without a /proc. With a story. */
int mproc__running_namespace_check(void);
/* The same of a thread of this process; its start is not compared. */
int mproc__running_open_thread(pid_t tid, mproc__proc_text *text, mproc__running_view *ret_view);
void mproc__running_fill(const mproc__running_view *view, mproc_running_stats *ret_stats);
/* Copies as much as a caller's struct has room for; its first member says how much, and is checked before. */
int mproc__running_result_check(const void *result, size_t known, const char *what);
void mproc__running_result_copy(const void *source, size_t known, void *ret_result);

#endif
