/* SPDX-License-Identifier: BSD-2-Clause */
/* managerd: options, signals and readiness around mproc_server. All it can do is in the library. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include <mproc.h>

enum { LISTEN_MOST = 8 /* of a server */ };

typedef struct settings {
    const char *listen[LISTEN_MOST];
    size_t listen_count;
    const char *key_file; /* NULL: only the kernel's word on who connects */
    int lifeline_fd;      /* -1: none */
    int ready_fd;         /* -1: none */
    mproc_log_level log_level;
} settings;

static const char help[] =
    "usage: managerd --listen ADDRESS [--listen ADDRESS]... [--key-file FILE]\n"
    "                [--lifeline-fd N] [--ready-fd N] [--log-level LEVEL]\n"
    "Serves dicts, lists and locks to the programs of this user.\n"
    "\n"
    "  --listen ADDRESS   unix:PATH or unix:@NAME\n"
    "  --key-file FILE    the authkey clients must prove: a file of mode 0600 with 16 bytes or more\n"
    "  --lifeline-fd N    stop when this descriptor reaches its end, because its owner has gone; SIGINT and\n"
    "                     SIGHUP are then the owner's business and ignored\n"
    "  --ready-fd N       write a newline to this descriptor when all addresses are served\n"
    "  --log-level LEVEL  error, warning (default), info or debug, to standard error\n"
    "  --version          print the version\n"
    "  --help             print this\n"
    "\n"
    "SIGTERM, SIGINT and SIGHUP stop it; its sockets go with it. Exit status: managerd(8).\n";

/* The one that the signal handler and the lifeline's thread stop. Set before either can run. */
static mproc_server *running;

static int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int complain(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("managerd: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return status;
}

/* ---- options ---- */

static int option_fd(const char *name, const char *text, int *ret_fd)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end || number < 0 || number > INT_MAX)
        return complain(EX_USAGE, "--%s: '%s' is no descriptor number", name, text);
    if (fcntl((int)number, F_GETFD) < 0)
        return complain(EX_USAGE, "--%s: descriptor %ld is not open", name, number);
    *ret_fd = (int)number;
    return 0;
}

static int option_level(const char *text, mproc_log_level *ret_level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; i < MPROC__COUNT(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_level = (mproc_log_level)(MPROC_LOG_ERROR + i);
            return 0;
        }
    return complain(EX_USAGE, "--log-level: '%s' is not error, warning, info or debug", text);
}

static int option_listen(settings *chosen, const char *address)
{
    if (chosen->listen_count == LISTEN_MOST)
        return complain(EX_USAGE, "--listen: more than %d addresses", LISTEN_MOST);
    chosen->listen[chosen->listen_count++] = address;
    return 0;
}

static void option_print(const char *text)
{
    fputs(text, stdout);
    exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

static int option_take(settings *chosen, int option)
{
    switch (option) {
    case 'l':
        return option_listen(chosen, optarg);
    case 'k':
        chosen->key_file = optarg;
        return 0;
    case 'f':
        return option_fd("lifeline-fd", optarg, &chosen->lifeline_fd);
    case 'r':
        return option_fd("ready-fd", optarg, &chosen->ready_fd);
    case 'v':
        return option_level(optarg, &chosen->log_level);
    case 'V':
        option_print("managerd " MPROC_VERSION_TEXT "\n");
        return 0;
    case 'h':
        option_print(help);
        return 0;
    default: /* getopt has said what is wrong */
        return EX_USAGE;
    }
}

static int options_read(int argc, char **argv, settings *chosen)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"key-file", required_argument, NULL, 'k'},
        {"lifeline-fd", required_argument, NULL, 'f'},
        {"ready-fd", required_argument, NULL, 'r'},
        {"log-level", required_argument, NULL, 'v'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int status = option_take(chosen, option);
        if (status != 0)
            return status;
    }
    if (optind < argc)
        return complain(EX_USAGE, "'%s' is no option", argv[optind]);
    if (chosen->listen_count == 0)
        return complain(EX_USAGE, "where to listen? --listen unix:PATH (more: managerd --help)");
    return 0;
}

/* ---- while it runs ---- */

static void log_print(mproc_log_level level, const char *text, void *context)
{
    static const char *const names[] = {"", "error", "warning", "info", "debug"};
    (void)context;
    fprintf(stderr, "managerd: %s: %s\n", (size_t)level < MPROC__COUNT(names) ? names[level] : "", text);
}

static void on_stop_signal(int number)
{
    int saved = errno;
    (void)number;
    (void)mproc_server_stop(running);
    errno = saved;
}

/* by_terminal: for the signals that a terminal sends to a whole group. The owner of a lifeline gets them too, and may need
 * us until it has finished. */
static void signals_handle(void (*handler)(int), void (*by_terminal)(int))
{
    struct sigaction stop = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&stop.sa_mask);
    sigaction(SIGTERM, &stop, NULL);
    stop.sa_handler = by_terminal;
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    stop.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &stop, NULL); /* a log that nobody reads must not end the service */
}

typedef struct lifeline {
    int fd;
    bool watched;
    pthread_t thread;
} lifeline;

/* Sleeps until the lifeline ends. What is written to it means nothing. A thread, because the server's loop watches its
 * own descriptors only; it touches nothing but the stop call. */
static void *lifeline_watch(void *context)
{
    int fd = ((const lifeline *)context)->fd;
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char dropped[64];
    ssize_t got = 1;
    while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN))) {
        if (poll(&item, 1, -1) > 0)
            got = read(fd, dropped, sizeof dropped);
    }
    (void)mproc_server_stop(running);
    return NULL;
}

static int lifeline_begin(lifeline *line, int fd)
{
    line->fd = fd;
    if (fd < 0)
        return 0;
    int error = pthread_create(&line->thread, NULL, lifeline_watch, line);
    if (error != 0)
        return complain(EX_OSERR, "no thread for the lifeline: %s", strerror(error));
    line->watched = true;
    return 0;
}

/* Before the server goes: nobody may stop one that is gone. Every wait of the thread is a cancellation point. */
static void lifeline_end(lifeline *line)
{
    if (!line->watched)
        return;
    pthread_cancel(line->thread);
    pthread_join(line->thread, NULL);
}

static int ready_tell(int fd)
{
    if (fd < 0)
        return 0;
    if (write(fd, "\n", 1) != 1)
        return complain(EX_IOERR, "--ready-fd: %s", strerror(errno));
    close(fd);
    return 0;
}

/* ---- start ---- */

static int status_of_create(int code)
{
    switch (code) {
    case -ENOENT:
        return EX_NOINPUT;
    case -EACCES:
        return EX_NOPERM;
    case MPROC_EAUTH:
    case -EINVAL:
        return EX_CONFIG;
    default:
        return EX_OSERR;
    }
}

static int status_of_listen(int code)
{
    switch (code) {
    case -EINVAL:
    case -ENAMETOOLONG:
    case MPROC_EPLACE:
        return EX_USAGE;
    case -EADDRINUSE:
        return EX_UNAVAILABLE;
    case -EACCES:
    case -EPERM:
        return EX_NOPERM;
    case -ENOENT:
    case -ENOTDIR:
    case -ENOTSOCK:
        return EX_CANTCREAT;
    default:
        return EX_OSERR;
    }
}

/* A client takes two descriptors, its socket and its process, so that the usual soft limit of 1024 would end at 500 of
 * them. The hard limit is what the administrator allows. */
static void descriptors_allow(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: fewer clients, and the log tells of them */
}

static int listen_all(mproc_server *server, const settings *chosen)
{
    for (size_t i = 0; i < chosen->listen_count; i++) {
        const char *address = NULL;
        int code = mproc_server_listen(server, chosen->listen[i], &address);
        if (code < 0)
            return complain(status_of_listen(code), "%s", mproc_error_text(mproc_last_error()));
        if (chosen->log_level >= MPROC_LOG_INFO)
            complain(0, "info: serving %s", address);
    }
    return 0;
}

static int serve(const settings *chosen, lifeline *line)
{
    int status = listen_all(running, chosen);
    if (status != 0)
        return status;
    signals_handle(on_stop_signal, chosen->lifeline_fd < 0 ? on_stop_signal : SIG_IGN);
    status = lifeline_begin(line, chosen->lifeline_fd);
    if (status == 0)
        status = ready_tell(chosen->ready_fd);
    if (status != 0)
        return status;
    int code = mproc_server_run(running, MPROC_FOREVER);
    return code < 0 ? complain(EX_SOFTWARE, "%s", mproc_error_text(mproc_last_error())) : EX_OK;
}

int main(int argc, char **argv)
{
    settings chosen = {.lifeline_fd = -1, .ready_fd = -1, .log_level = MPROC_LOG_WARNING};
    lifeline line = {.fd = -1};
    int status = options_read(argc, argv, &chosen);
    if (status != 0)
        return status;
    prctl(PR_SET_DUMPABLE, 0); /* keys and clients' data are in no core file */
    descriptors_allow();
    mproc_set_log(log_print, chosen.log_level, NULL);
    int code = mproc_server_create(MPROC_WITH(mproc_server_options, .key_file = chosen.key_file), &running);
    if (code < 0)
        return complain(status_of_create(code), "%s", mproc_error_text(mproc_last_error()));
    status = serve(&chosen, &line);
    signals_handle(SIG_IGN, SIG_IGN); /* we are stopping: the handler must not see the server go */
    lifeline_end(&line);
    mproc_server_close(&running);
    return status;
}
