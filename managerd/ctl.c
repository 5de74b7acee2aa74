/* SPDX-License-Identifier: BSD-2-Clause */
/* managerctl: look at a running managerd from the shell. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <mproc.h>

/* Exit status. */
enum {
    DONE = 0,
    FAILED = 1, /* the server or the object is not there, or refused */
    USAGE = 2
};

enum {
    KEY_BYTES = 32, /* random ones, written as twice as many letters */
    CALL_MS = 5000
};

static const char help[] =
    "usage: managerctl [--connect ADDRESS] [--key-file FILE] COMMAND\n"
    "Commands:\n"
    "  ping              is the server there, and does it take our key?\n"
    "  list              the named objects: name, type, holders\n"
    "  get NAME          all of a dict (key, tab, value) or a list (a value each line)\n"
    "  get NAME KEY      one value of a dict or a list\n"
    "  keygen [FILE]     write a new random key to FILE (made with mode 0600), or to standard output\n"
    "\n"
    "  --connect ADDRESS unix:PATH or unix:@NAME; default: $MPROC_PLACE\n"
    "  --key-file FILE   the authkey\n"
    "Exit status: 0 done, 1 not done, 2 wrong usage.\n";

typedef struct request {
    const char *address, *key_file;
    char **words; /* command and arguments */
    int count;
} request;

static int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int complain(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("managerctl: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return status;
}

static int failed(void)
{
    return complain(FAILED, "%s", mproc_error_text(mproc_last_error()));
}

/* ---- output ---- */

/* A text as it is, so that scripts can use it; everything else as mproc_variant_print writes it. */
static int value_print(mproc_variant value)
{
    const char *text = mproc_variant_get_text(value);
    if (text) {
        fputs(text, stdout);
        return 0;
    }
    int length = mproc_variant_print(value, NULL, 0);
    char *line = length < 0 ? NULL : malloc((size_t)length + 1);
    if (!line)
        return complain(FAILED, "no memory to print a value");
    mproc_variant_print(value, line, (size_t)length + 1);
    fputs(line, stdout);
    free(line);
    return 0;
}

static int line_print(mproc_variant value)
{
    int status = value_print(value);
    putchar('\n');
    return status;
}

/* ---- commands on a server ---- */

static int run_ping(mproc_place *place, const request *asked)
{
    if (mproc_place_ping(place, mproc_after_ms(CALL_MS)) < 0)
        return failed();
    printf("%s is there\n", asked->address);
    return DONE;
}

static int run_list(mproc_place *place, const request *asked)
{
    mproc_variant names;
    (void)asked;
    if (mproc_place_names(place, &names) < 0)
        return failed();
    for (size_t i = 0; i < mproc_variant_count(names); i++) {
        mproc_variant entry = mproc_variant_at(names, i);
        int64_t holders = 0;
        (void)mproc_variant_get_int(mproc_variant_find(entry, "holders"), &holders);
        value_print(mproc_variant_find(entry, "name"));
        putchar('\t');
        value_print(mproc_variant_find(entry, "type"));
        printf("\t%lld\n", (long long)holders);
    }
    mproc_variant_clear(&names);
    return DONE;
}

static bool text_number(const char *text, int64_t *ret_number)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    *ret_number = number;
    return errno == 0 && end != text && !*end;
}

/* Keys may be of any kind; from the shell they come as text. One that reads as a number is tried as that too. */
static int dict_get_key(mproc_dict *dict, const char *key, mproc_variant *ret_item)
{
    int64_t number;
    int code = mproc_dict_get(dict, mproc_text(key), ret_item);
    if (code == MPROC_EKEY && text_number(key, &number))
        code = mproc_dict_get(dict, mproc_int(number), ret_item);
    return code;
}

static int dict_print(mproc_dict *dict)
{
    mproc_variant pairs;
    if (mproc_dict_copy(dict, &pairs) < 0)
        return failed();
    for (size_t i = 0; i < mproc_variant_count(pairs); i++) {
        value_print(mproc_variant_at(mproc_variant_at(pairs, i), 0));
        putchar('\t');
        line_print(mproc_variant_at(mproc_variant_at(pairs, i), 1));
    }
    mproc_variant_clear(&pairs);
    return DONE;
}

static int list_print(mproc_list *list)
{
    mproc_variant items;
    size_t count;
    if (mproc_list_count(list, &count) < 0 || mproc_list_slice(list, 0, (int64_t)count, &items) < 0)
        return failed();
    for (size_t i = 0; i < mproc_variant_count(items); i++)
        line_print(mproc_variant_at(items, i));
    mproc_variant_clear(&items);
    return DONE;
}

/* Prints what a get of one item came to. */
static int item_print(int code, mproc_variant *item)
{
    if (code < 0)
        return failed();
    int status = line_print(*item);
    mproc_variant_clear(item);
    return status;
}

static int get_from_dict(mproc_dict *dict, const char *key)
{
    mproc_variant item;
    if (!key)
        return dict_print(dict);
    return item_print(dict_get_key(dict, key, &item), &item);
}

static int get_from_list(mproc_list *list, const char *key)
{
    mproc_variant item;
    int64_t index;
    if (!key)
        return list_print(list);
    if (!text_number(key, &index))
        return complain(FAILED, "'%s' is no index: the items of a list have numbers", key);
    return item_print(mproc_list_get(list, index, &item), &item);
}

/* -EINVAL from opening is "of another type": then the next type is tried. */
static int run_get(mproc_place *place, const request *asked)
{
    const char *name = asked->words[1], *key = asked->count > 2 ? asked->words[2] : NULL;
    mproc_dict *dict = NULL;
    mproc_list *list = NULL;
    int status, code = mproc_dict_open(place, name, &dict);
    if (code == -EINVAL)
        code = mproc_list_open(place, name, &list);
    if (code == -EINVAL)
        return complain(FAILED, "'%s' is neither a dict nor a list", name);
    if (code < 0)
        return failed();
    status = dict ? get_from_dict(dict, key) : get_from_list(list, key);
    mproc_dict_close(&dict);
    mproc_list_close(&list);
    return status;
}

static int with_place(const request *asked, int (*run)(mproc_place *, const request *))
{
    mproc_place *place;
    if (!asked->address)
        return complain(USAGE, "which server? --connect unix:PATH, or MPROC_PLACE in the environment");
    if (mproc_place_open(asked->address,
                         MPROC_WITH(mproc_place_options, .key_file = asked->key_file, .connect_ms = CALL_MS,
                                    .call_ms = CALL_MS),
                         &place) < 0)
        return failed();
    int status = run(place, asked);
    mproc_place_close(&place);
    return status;
}

/* ---- keygen ---- */

static int key_write(int fd, const char *where)
{
    unsigned char key[KEY_BYTES];
    char text[2 * KEY_BYTES + 1];
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return complain(FAILED, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof key; i++) {
        text[2 * i] = "0123456789abcdef"[key[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[key[i] & 15];
    }
    text[sizeof text - 1] = '\n';
    int status = write(fd, text, sizeof text) == (ssize_t)sizeof text
                     ? DONE
                     : complain(FAILED, "%s: %s", where, strerror(errno));
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, sizeof text);
    return status;
}

/* A key on a screen stays in its scroll-back: there it has to be asked for by a pipe. */
static int run_keygen(const request *asked)
{
    if (asked->count < 2) {
        if (isatty(STDOUT_FILENO))
            return complain(USAGE, "keygen: to which file?");
        return key_write(STDOUT_FILENO, "standard output");
    }
    const char *file = asked->words[1];
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return complain(FAILED, "cannot make the key file %s: %s", file, strerror(errno));
    int status = key_write(fd, file);
    if (close(fd) < 0 && status == DONE)
        status = complain(FAILED, "%s: %s", file, strerror(errno));
    if (status != DONE)
        unlink(file);
    return status;
}

/* ---- the command line ---- */

static int request_run(const request *asked)
{
    static const struct {
        const char *name;
        int least, most; /* words, the command included */
        int (*run)(mproc_place *, const request *);
    } commands[] = {
        {"ping", 1, 1, run_ping},
        {"list", 1, 1, run_list},
        {"get", 2, 3, run_get},
        {"keygen", 1, 2, NULL},
    };
    if (asked->count == 0)
        return complain(USAGE, "which command? ping, list, get or keygen (more: managerctl --help)");
    for (size_t i = 0; i < MPROC__COUNT(commands); i++) {
        if (strcmp(asked->words[0], commands[i].name) != 0)
            continue;
        if (asked->count < commands[i].least || asked->count > commands[i].most)
            return complain(USAGE, "%s: %s (more: managerctl --help)", commands[i].name,
                            asked->count < commands[i].least ? "of what?" : "too many arguments");
        return commands[i].run ? with_place(asked, commands[i].run) : run_keygen(asked);
    }
    return complain(USAGE, "'%s' is no command: ping, list, get and keygen are", asked->words[0]);
}

/* Negative: go on; else the exit status. */
static int options_read(int argc, char **argv, request *asked)
{
    static const struct option options[] = {
        {"connect", required_argument, NULL, 'c'},
        {"key-file", required_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    /* "+": what follows the command is not ours, so that an index of -1 is no option. */
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (option == 'c') {
            asked->address = optarg;
        } else if (option == 'k') {
            asked->key_file = optarg;
        } else if (option == 'V' || option == 'h') {
            fputs(option == 'h' ? help : "managerctl " MPROC_VERSION_TEXT "\n", stdout);
            return DONE;
        } else {
            return USAGE;
        }
    }
    asked->words = argv + optind;
    asked->count = argc - optind;
    return -1;
}

int main(int argc, char **argv)
{
    request asked = {.address = getenv("MPROC_PLACE")};
    int status = options_read(argc, argv, &asked);
    if (status < 0)
        status = request_run(&asked);
    if (fflush(stdout) != 0)
        return complain(FAILED, "standard output: %s", strerror(errno));
    return status;
}
