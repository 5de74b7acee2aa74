/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc-explain: what is shared on this host, who holds it, who waits for whom. */
#include "platform/base.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mproc.h>

/* Exit status. */
enum {
    NOTHING_WRONG = 0,
    SOMETHING_WRONG = 1, /* a wait cycle, a holder that stands still, a dead participant, damage */
    FAILED = 2,
    USAGE = 64
};

static const char help[] =
    "usage: mproc-explain [PID | NAME]...\n"
    "Tells what is shared in memory on this host: who uses it, who holds it, who waits for it and since "
    "when, and which\n"
    "waits go round in a circle. Nothing is stopped, locked or written.\n"
    "  PID        only what this process uses or has open\n"
    "  NAME       only what was made with this name; /NAME: the file of this name in /dev/shm\n"
    "  --help     this\n"
    "  --version  the version\n"
    "Exit status: 0 nothing is wrong; 1 a wait cycle, a holder that is stopped or frozen, a dead participant "
    "that\n"
    "nobody swept up after, or damage; 2 not done; 64 wrong usage.\n";

static int failed(void)
{
    fprintf(stderr, "mproc-explain: %s\n", mproc_error_text(mproc_last_error()));
    return FAILED;
}

/* What begins with a digit is a number of a process or nothing. */
static bool pid_read(const char *word, int *ret_pid)
{
    char *end;
    errno = 0;
    long number = strtol(word, &end, 10);
    *ret_pid = (int)number;
    return errno == 0 && *end == '\0' && number > 0 && number <= INT_MAX;
}

static bool found(mproc_variant dict, const char *key)
{
    int64_t number = 0;
    return mproc_variant_get_int(mproc_variant_find(dict, key), &number) == 0 && number > 0;
}

static int explain(const mproc_explain_options *options)
{
    mproc_variant dict;
    if (mproc_explain_for(stdout, options, &dict) < 0)
        return failed();
    bool wrong =
        found(dict, "cycles") || found(dict, "stopped") || found(dict, "dead") || found(dict, "damaged");
    mproc_variant_clear(&dict);
    return wrong ? SOMETHING_WRONG : NOTHING_WRONG;
}

static int words_explain(char **words, int count)
{
    int *pids = calloc((size_t)count + 1, sizeof(*pids));
    const char **names = calloc((size_t)count + 1, sizeof(*names));
    mproc_explain_options options = {.size = sizeof(options), .pids = pids, .names = names};
    int status = pids && names ? NOTHING_WRONG : FAILED;
    for (int i = 0; i < count && status == NOTHING_WRONG; i++) {
        if (!isdigit((unsigned char)words[i][0]))
            names[options.name_count++] = words[i];
        else if (pid_read(words[i], &pids[options.pid_count]))
            options.pid_count++;
        else
            status = USAGE;
    }
    if (status == NOTHING_WRONG)
        status = explain(&options);
    else if (status == USAGE)
        fputs("mproc-explain: that is no number of a process\n", stderr);
    else
        fputs("mproc-explain: no memory\n", stderr);
    free(pids);
    free(names);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
    int option = getopt_long(argc, argv, "", options, NULL);
    if (option == 'h' || option == 'v') {
        bool good =
            (option == 'h' ? fputs(help, stdout) : printf("mproc-explain %s\n", mproc_version())) >= 0;
        return good && fflush(stdout) == 0 ? NOTHING_WRONG : FAILED;
    }
    if (option != -1) {
        fputs(help, stderr);
        return USAGE;
    }
    return words_explain(argv + optind, argc - optind);
}
