/* SPDX-License-Identifier: BSD-2-Clause */
/* Explain: what it says of objects, and what it survives. Cycles have a program of their own. */
#include "platform/base.h"

#include <ctype.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/explain_common.h"
#include "platform/platform.h"

enum { NOBODY = 65534 };

static bool says_of(const char *before, pid_t pid, const char *behind)
{
    char line[160];
    snprintf(line, sizeof(line), "%s%d%s", before, (int)pid, behind);
    return toy_says(line);
}

START_TEST(an_object_is_told_with_all_its_people)
{
    mproc__segment *toy = toy_make("jobs");
    pid_t owner = toy_start((toy_child){.joins = toy, .owns = toy});
    pid_t waiter = toy_start((toy_child){.waits = toy});
    char *text = toy_explain();
    ck_assert(toy_says("[1] toy \"jobs\", ") && toy_says(" KiB of anonymous memory\n"));
    ck_assert(says_of("      used by   ", owner, " check_explain, running\n"));
    ck_assert(says_of("      held by   ", owner, " check_explain, thread "));
    ck_assert(toy_says(", owner, running\n"));
    ck_assert(says_of("      waiting   ", waiter, " check_explain, thread "));
    ck_assert(toy_says(", to acquire, "));
    ck_assert(says_of("", getpid(), " check_explain")); /* has it open */
    ck_assert(toy_says("state     a toy of "));
    ck_assert(toy_says("objects: 1; participants: 1; waiting threads: 1\n"));
    ck_assert(toy_says("wait cycles: 0; holders that stand still: 0; dead, not swept: 0; damaged: 0\n"));
    ck_assert_int_eq(toy_found("objects"), 1);
    ck_assert_int_eq(toy_found("participants"), 1);
    ck_assert_int_eq(toy_found("waiting"), 1);
    ck_assert_int_eq(toy_found("stopped") + toy_found("dead") + toy_found("damaged"), 0);
    free(text);
    support_kill(owner);
    support_kill(waiter);
    mproc__segment_release(toy);
}
END_TEST

START_TEST(when_all_are_stopped_it_says_so)
{
    mproc__segment *toy = toy_make("stopped");
    pid_t owner = toy_start((toy_child){.joins = toy, .owns = toy});
    pid_t waiter = toy_start((toy_child){.joins = toy, .waits = toy});
    ck_assert(toy_stop(owner) && toy_stop(waiter));
    free(toy_explain());
    ck_assert(says_of("used by   ", owner, " check_explain, STOPPED\n"));
    ck_assert(says_of("used by   ", waiter, " check_explain, STOPPED\n"));
    ck_assert(toy_says(", owner, STOPPED\n"));
    ck_assert(toy_says(" s, STOPPED\n"));
    ck_assert_int_eq(toy_found("stopped"), 1);
    ck_assert_int_eq(toy_found("dead"), 0);
    support_kill(owner);
    support_kill(waiter);
    mproc__segment_release(toy);
}
END_TEST

START_TEST(the_dead_are_told_until_somebody_sweeps)
{
    mproc__segment *toy = toy_make("dead");
    pid_t child = toy_start((toy_child){.joins = toy, .owns = toy, .waits = toy});
    support_kill(child);
    free(toy_explain());
    ck_assert(says_of("used by   ", child, ", dead, and nobody has swept up after it yet\n"));
    ck_assert(says_of("held by   an unknown process, thread ", child, ", owner, ended\n"));
    ck_assert_int_eq(toy_found("dead"), 1);
    ck_assert_int_eq(toy_found("waiting"), 0); /* its slot is still taken */
    ck_assert_uint_eq(mproc__segment_sweep(toy), 1);
    free(toy_explain());
    ck_assert_int_eq(toy_found("dead"), 0);
    ck_assert_int_eq(toy_found("participants"), 0);
    mproc__segment_release(toy);
}
END_TEST

static void *join_and_end(void *segment)
{
    return (void *)(intptr_t)mproc__segment_join(segment);
}

static int join_in_thread(void *context)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, join_and_end, context) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    atomic_store(&toy_of(context)->ready, 1);
    while (pause() != 0)
        ;
    return 0;
}

static bool is_ready(void *segment)
{
    return atomic_load(&toy_of(segment)->ready) == 1;
}

START_TEST(a_row_without_its_thread_lives_with_its_process)
{
    mproc__segment *toy = toy_make("handed back");
    pid_t child = support_fork(join_in_thread, toy);
    ck_assert(support_until(is_ready, toy, 5000));
    free(toy_explain());
    ck_assert(says_of("used by   ", child, " check_explain, running; the thread that joined has ended\n"));
    ck_assert_int_eq(toy_found("dead"), 0);
    support_kill(child);
    free(toy_explain());
    ck_assert(says_of("used by   ", child, ", dead, and nobody"));
    ck_assert_int_eq(toy_found("dead"), 1);
    mproc__segment_release(toy);
}
END_TEST

/* A waiter was killed, and its number is that of a younger thread: this one, say. */
START_TEST(a_thread_younger_than_the_wait_is_another)
{
    mproc__segment *toy = toy_make("young");
    mproc__process_view view;
    ck_assert_int_eq(mproc__process_view_get(mproc__tid(), &view), 0);
    int slot = mproc__waiting_begin(toy, MPROC__WAIT_READ);
    ck_assert_int_ge(slot, 0);
    free(toy_explain());
    ck_assert(toy_says(", to read, "));
    ck_assert_int_eq(toy_found("waiting"), 1);
    atomic_store(&toy->shared->waiters[slot].since_ns, view.started_ns - INT64_C(1000000000));
    free(toy_explain());
    ck_assert_int_eq(toy_found("waiting"), 0);
    mproc__waiting_end(toy, slot);
    mproc__segment_release(toy);
}
END_TEST

START_TEST(every_kind_of_wait_has_its_words)
{
    mproc__segment *toy = toy_make("kinds");
    for (unsigned kind = MPROC__WAIT_ACQUIRE; kind <= MPROC__WAIT_RESULT; kind++) {
        atomic_store(&toy->shared->waiters[kind].since_ns, mproc__now_ns());
        atomic_store(&toy->shared->waiters[kind].word, (uint64_t)kind << 32 | (uint32_t)mproc__tid());
    }
    free(toy_explain());
    ck_assert_int_eq(toy_found("waiting"), 9);
    ck_assert(toy_says("to acquire") && toy_says("to read") && toy_says("to be notified") &&
              toy_says("for it to be set") && toy_says("for the other parties") && toy_says("for an item") &&
              toy_says("for room") && toy_says("for all to be done") && toy_says("for a result"));
    mproc__segment_release(toy);
}
END_TEST

/* ---- what is left out, and what is asked for ---- */

static int found_with(const mproc_explain_options *options, char **ret_text)
{
    size_t size_bytes;
    mproc_variant dict;
    int64_t objects = -1;
    FILE *stream = open_memstream(ret_text, &size_bytes);
    ck_assert_int_eq(mproc__explain(stream, options, &dict), 0);
    fclose(stream);
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(dict, "objects"), &objects), 0);
    mproc_variant_clear(&dict);
    return (int)objects;
}

/* A name that no test beside this one has: explain looks at everybody's. */
static void own_name(char ret_name[40], const char *word)
{
    snprintf(ret_name, 40, "%s-%d", word, (int)getpid());
}

START_TEST(only_what_is_asked_for_is_told)
{
    char name_a[40], name_b[40], *text;
    own_name(name_a, "asked-for-a");
    own_name(name_b, "asked-for-b");
    const char *names[] = {name_b, "asked-for-none"};
    mproc__segment *a = toy_make(name_a), *b = toy_make(name_b);
    ck_assert_int_eq(found_with(MPROC_WITH(mproc_explain_options, .names = names, .name_count = 2), &text),
                     1);
    ck_assert_ptr_nonnull(strstr(text, name_b));
    ck_assert_ptr_null(strstr(text, name_a));
    free(text);
    ck_assert_int_ge(found_with(NULL, &text), 2);
    ck_assert_ptr_nonnull(strstr(text, name_a));
    free(text);
    pid_t child = toy_start((toy_child){.joins = a});
    ck_assert_int_eq(found_with(MPROC_WITH(mproc_explain_options, .pids = &child, .pid_count = 1), &text), 2);
    free(text);
    ck_assert_int_eq(
        mproc__explain(stdout, MPROC_WITH(mproc_explain_options, .pids = &(int){INT32_MAX}, .pid_count = 1),
                       NULL),
        -ESRCH);
    ck_assert_int_eq(
        mproc__explain(stdout, MPROC_WITH(mproc_explain_options, .pids = &(int){0}, .pid_count = 1), NULL),
        -ESRCH);
    support_kill(child);
    mproc__segment_release(a);
    mproc__segment_release(b);
}
END_TEST

START_TEST(a_stream_that_takes_nothing_is_an_error)
{
    mproc__segment *toy = toy_make("full");
    FILE *full = fopen("/dev/full", "we");
    ck_assert_ptr_nonnull(full);
    ck_assert_int_eq(mproc__explain(full, NULL, NULL), -EIO);
    fclose(full);
    mproc__segment_release(toy);
}
END_TEST

START_TEST(no_memory_is_an_error_and_leaks_nothing)
{
    char name_a[40], name_b[40];
    own_name(name_a, "memory-a");
    own_name(name_b, "memory-b");
    mproc__segment *a = toy_make(name_a), *b = toy_make(name_b);
    pid_t children[] = {toy_start((toy_child){.owns = a, .waits = b}),
                        toy_start((toy_child){.owns = b, .waits = a})};
    const char *names[] = {name_a, name_b};
    FILE *nowhere = fopen("/dev/null", "we");
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        ck_assert_uint_lt(n, 5000);
        mproc_variant dict;
        support_fail_allocation(n);
        int code = mproc__explain(nowhere, MPROC_WITH(mproc_explain_options, .names = names, .name_count = 2),
                                  &dict);
        failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
        if (code == 0)
            mproc_variant_clear(&dict);
    }
    fclose(nowhere);
    support_kill(children[0]);
    support_kill(children[1]);
    mproc__segment_release(a);
    mproc__segment_release(b);
}
END_TEST

/* ---- damage ---- */

/* Nothing but lines of printable characters. */
static void is_printable(const char *text)
{
    for (const char *at = text; *at; at++)
        ck_assert_msg(*at == '\n' || (unsigned char)*at >= 128 || isprint((unsigned char)*at), "byte %d",
                      *at);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Every `sparse`-th word, from behind the magic number or with it. The process never joined, so no word in there is on a
 * list of robust mutexes. */
static void damage(mproc__segment *segment, uint64_t seed, bool magic_too)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    uint64_t sparse = random_next(&state) % 64 + 1;
    uint64_t *words = segment->mapping;
    for (size_t i = magic_too ? 0 : 1; i < segment->mapping_bytes / sizeof(*words); i++)
        if (random_next(&state) % sparse == 0)
            words[i] = random_next(&state) % 4 ? random_next(&state) : (random_next(&state) & 0x7000007fffu);
}

static void put_back(mproc__segment *segment, const mproc__header_shared *header)
{
    memcpy(segment->mapping, header, offsetof(mproc__header_shared, membership));
}

/* Once with a header that is whole, so that rows, waiters and root are read. */
START_TEST(damage_is_told_or_left_out_and_never_followed)
{
    mproc__segment *toy = toy_make("damaged");
    mproc__header_shared *header = malloc(sizeof(*header));
    memcpy(header, toy->mapping, sizeof(*header));
    for (uint64_t seed = 1; seed <= 150; seed++) {
        damage(toy, seed + 1000 * (uint64_t)_i, seed % 2);
        if (_i == 0)
            put_back(toy, header);
        char *text = toy_explain();
        is_printable(text);
        ck_assert_int_eq(toy_found("objects"), 1);
        free(text);
    }
    free(header);
    mproc__segment_release(toy);
}
END_TEST

static void header_is(const char *expected, int damaged)
{
    free(toy_explain());
    ck_assert(toy_says(expected));
    ck_assert_int_eq(toy_found("objects"), 1);
    ck_assert_int_eq(toy_found("damaged"), damaged);
}

START_TEST(every_want_of_sense_has_its_words)
{
    mproc__segment *toy = toy_make("senseless");
    mproc__header_shared *header = toy->shared, whole = *header;
    header->magic++;
    header_is("\"/memfd:mproc:senseless (deleted)\"\n      state     damaged: it does not begin as one", 1);
    *header = whole;
    header->version++;
    header_is("of another build", 0);
    *header = whole;
    header->root_offset += 8;
    header_is("of another build", 0);
    *header = whole;
    header->size_bytes = UINT64_MAX;
    header_is("damaged: its sizes cannot be true", 1);
    *header = whole;
    header->size_bytes = 1;
    header_is("damaged: its memory is too small", 1);
    *header = whole;
    header->pid_namespace++;
    header_is("of another pid or time namespace", 0);
    *header = whole;
    header->kind = 60;
    header_is("object of an unknown kind \"senseless\"", 0);
    *header = whole;
    header->kind = UINT32_MAX;
    header_is("object of an unknown kind \"senseless\"", 0);
    *header = whole;
    memcpy(header->label, "a\nb\033[2J", 8);
    header_is("toy \"a?b?[2J\"", 0);
    memset(header, 0, toy->mapping_bytes);
    header_is("empty: being made, or its maker died", 0);
    *header = whole;
    mproc__segment_release(toy);
}
END_TEST

START_TEST(short_files_are_no_objects)
{
    int fd = memfd_create("mproc:sh\nort\033]0;", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    free(toy_explain());
    ck_assert(toy_says("empty: being made") && toy_says("mproc:sh?ort?]0;") && !toy_says("\033"));
    ck_assert_int_eq(write(fd, "mp-segmt", 8), 8);
    free(toy_explain());
    ck_assert(toy_says("of another build"));
    ck_assert_int_eq(pwrite(fd, "zz", 2, 0), 2);
    free(toy_explain());
    ck_assert(toy_says("damaged: it does not begin"));
    close(fd);
}
END_TEST

/* ---- others ---- */

static int explain_as_nobody(void *hers)
{
    if (getuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        return 1;
    char *text;
    size_t size_bytes;
    int64_t hidden = 0;
    mproc_variant dict;
    mproc__segment *own;
    if (mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_LOCK, "own-of-nobody", sizeof(toy_shared), 0,
                              &own) < 0)
        return 2;
    FILE *stream = open_memstream(&text, &size_bytes);
    if (!stream || mproc__explain(stream, NULL, &dict) != 0 || fclose(stream) != 0)
        return 3;
    if (mproc_variant_get_int(mproc_variant_find(dict, "hidden"), &hidden) != 0 || hidden == 0)
        return 4;
    return strstr(text, "own-of-nobody") && !strstr(text, hers) ? 0 : 5;
}

static int make_and_stay(void *ready)
{
    char name[40];
    snprintf(name, sizeof(name), "hers-%d", (int)getppid());
    (void)toy_make(name);
    atomic_store(&toy_of(ready)->ready, 1);
    while (pause() != 0)
        ;
    return 0;
}

START_TEST(what_another_user_has_is_counted_and_not_told)
{
    char hers[40];
    own_name(hers, "hers");
    mproc__segment *toy = toy_make("ready");
    pid_t other = support_fork(make_and_stay, toy);
    ck_assert(support_until(is_ready, toy, 5000));
    if (getuid() == 0)
        ck_assert_int_eq(support_reap(support_fork(explain_as_nobody, hers), 10000), 0);
    support_kill(other);
    mproc__segment_release(toy);
}
END_TEST

static int come_and_go(void *context)
{
    (void)context;
    for (;;) {
        mproc__segment *toy = toy_make("fleeting");
        pid_t child = fork();
        if (child == 0) {
            (void)mproc__segment_join(toy);
            _exit(0);
        }
        mproc__segment_release(toy);
        waitpid(child, NULL, 0);
    }
    return 0;
}

START_TEST(processes_and_objects_may_come_and_go_meanwhile)
{
    pid_t busy[] = {support_fork(come_and_go, NULL), support_fork(come_and_go, NULL)};
    for (int i = 0; i < 60; i++) {
        char *text;
        found_with(NULL, &text);
        is_printable(text);
        free(text);
    }
    support_kill(busy[0]);
    support_kill(busy[1]);
    support_children_kill(); /* theirs */
}
END_TEST

/* With the children's they are 500 objects of three processes. */
START_TEST(five_hundred_objects_take_less_than_a_second)
{
    enum { MANY = 500 };
    mproc__segment *many[MANY];
    for (int i = 0; i < MANY; i++)
        many[i] = toy_make("many");
    pid_t owner = toy_start((toy_child){.joins = many[0], .owns = many[0]});
    pid_t waiter = toy_start((toy_child){.joins = many[MANY - 1], .waits = many[MANY - 1]});
    int64_t begin_ns = mproc__now_ns();
    free(toy_explain());
    int64_t took_ms = (mproc__now_ns() - begin_ns) / 1000000;
    ck_assert_int_eq(toy_found("objects"), MANY);
    ck_assert_int_eq(toy_found("participants"), 2);
    ck_assert_int_lt(took_ms, support_ms(1000));
    support_kill(owner);
    support_kill(waiter);
    for (int i = 0; i < MANY; i++)
        mproc__segment_release(many[i]);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("explain");
    toy_register();
    TCase *people = support_case(suite, "people");
    tcase_add_test(people, an_object_is_told_with_all_its_people);
    tcase_add_test(people, when_all_are_stopped_it_says_so);
    tcase_add_test(people, the_dead_are_told_until_somebody_sweeps);
    tcase_add_test(people, a_row_without_its_thread_lives_with_its_process);
    tcase_add_test(people, a_thread_younger_than_the_wait_is_another);
    tcase_add_test(people, every_kind_of_wait_has_its_words);
    TCase *choice = support_case(suite, "choice");
    tcase_add_test(choice, only_what_is_asked_for_is_told);
    tcase_add_test(choice, a_stream_that_takes_nothing_is_an_error);
    tcase_add_test(choice, no_memory_is_an_error_and_leaks_nothing);
    TCase *harm = support_case(suite, "damage");
    tcase_add_loop_test(harm, damage_is_told_or_left_out_and_never_followed, 0, 2);
    tcase_add_test(harm, every_want_of_sense_has_its_words);
    tcase_add_test(harm, short_files_are_no_objects);
    TCase *crowd = support_case(suite, "others");
    tcase_add_test(crowd, what_another_user_has_is_counted_and_not_told);
    tcase_add_test(crowd, processes_and_objects_may_come_and_go_meanwhile);
    tcase_add_test(crowd, five_hundred_objects_take_less_than_a_second);
    return support_run(suite, argc, argv);
}
