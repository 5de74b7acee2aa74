/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests and sessions without sockets: what a request does, who gets a lock, what a death gives back. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "manager/served.h"
#include "platform/platform.h"
#include "platform/story.h"
#include "support/support.h"

/* A session that remembers its last answers. */
typedef struct fake {
    mproc__client client;
    unsigned answers;
    uint64_t id, object, token;
    int code;
} fake;

static mproc__registry registry;
static fake a, b, c;

/* Check's own asserts allocate, and here allocations are made to fail. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fake_answer(mproc__client *client, const mproc__answer *answer)
{
    fake *self = MPROC__CONTAINER(client, fake, client);
    self->answers++;
    self->id = answer->id;
    self->code = answer->code;
    self->object = answer->object;
    self->token = answer->token;
}

static void begin(void)
{
    mproc__registry_init(&registry, 1000, 100000);
    mproc__client_init(&a.client, 1, fake_answer);
    mproc__client_init(&b.client, 2, fake_answer);
    mproc__client_init(&c.client, 3, fake_answer);
}

static void gone(fake *self)
{
    mproc__client_gone(&registry, &self->client);
    mproc__table_fini(&self->client.holds);
}

static void end(void)
{
    gone(&a);
    gone(&b);
    gone(&c);
    mproc__registry_fini(&registry);
    ck_assert_uint_eq(registry.used_bytes, 0);
}

static uint64_t last_id;

/* Returns the code, or MPROC__PARKED. */
static int ask(fake *self, mproc__envelope request, mproc_variant args)
{
    uint8_t bytes[2000];
    size_t size = 0;
    unsigned before = self->answers;
    must(mproc__variant_encoded_size(args, &size) == 0 && size <= sizeof bytes);
    must(mproc__variant_encode(args, bytes, size) == 0);
    request.args = bytes;
    request.args_bytes = size;
    request.id = ++last_id;
    request.life = request.life ? request.life : 1000;
    request.name = request.name ? request.name : "";
    mproc__serve(&registry, &self->client, &request);
    return self->answers == before ? MPROC__PARKED : self->code;
}

static uint64_t make(fake *self, mproc_type_id type, const char *name, mproc_variant args)
{
    ck_assert_int_eq(ask(self, (mproc__envelope){.method = MPROC__CREATE, .type = type, .name = name}, args),
                     0);
    return self->object;
}

static int call(fake *self, mproc__method method, uint64_t object, mproc_variant args)
{
    return ask(self, (mproc__envelope){.method = method, .object = object, .holder = 1, .timeout_us = -1},
               args);
}

static int acquire(fake *self, uint64_t lock, uint64_t holder, int64_t timeout_us)
{
    return ask(self,
               (mproc__envelope){
                   .method = MPROC__LOCK_ACQUIRE, .object = lock, .holder = holder, .timeout_us = timeout_us},
               mproc_null());
}

static int release(fake *self, uint64_t lock)
{
    return call(self, MPROC__LOCK_RELEASE, lock, mproc_null());
}

static int release_by(fake *self, uint64_t lock, uint64_t holder)
{
    return ask(self, (mproc__envelope){.method = MPROC__LOCK_RELEASE, .object = lock, .holder = holder},
               mproc_null());
}

static int open_named(fake *self, mproc_type_id type, const char *name)
{
    return ask(self, (mproc__envelope){.method = MPROC__OPEN, .type = type, .name = name}, mproc_null());
}

#define PLAIN     MPROC_ARGS(mproc_bool(false), mproc_bool(false))
#define RECURSIVE MPROC_ARGS(mproc_bool(true), mproc_bool(false))
#define POISON    MPROC_ARGS(mproc_bool(false), mproc_bool(true))

/* ---- objects ---- */

/* shows: MGR-17 MGR-18 */
START_TEST(an_unnamed_object_goes_with_its_last_holder)
{
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
    ck_assert_int_eq(
        ask(&b, (mproc__envelope){.method = MPROC__DICT_COUNT, .object = dict, .hold = true}, mproc_null()),
        0);
    mproc__client_gone(&registry, &a.client);
    ck_assert_int_eq(call(&b, MPROC__DICT_COUNT, dict, mproc_null()), 0);
    ck_assert_int_eq(ask(&b, (mproc__envelope){.method = MPROC__RELEASE, .object = dict}, mproc_null()), 0);
    ck_assert_int_eq(call(&b, MPROC__DICT_COUNT, dict, mproc_null()), MPROC_ESTALE);
    ck_assert_uint_eq(registry.objects.count, 0);
}
END_TEST

START_TEST(releasing_what_is_not_held_does_nothing)
{
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(&b, (mproc__envelope){.method = MPROC__RELEASE, .object = dict}, mproc_null()),
                         0);
    ck_assert_int_eq(call(&a, MPROC__DICT_COUNT, dict, mproc_null()), 0);
}
END_TEST

START_TEST(an_object_of_another_life_is_stale)
{
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
    ck_assert_int_eq(
        ask(&a, (mproc__envelope){.method = MPROC__DICT_COUNT, .object = dict, .life = 999}, mproc_null()),
        MPROC_ESTALE);
}
END_TEST

/* shows: MGR-07 */
START_TEST(unknown_methods_types_and_arguments_fail_alone)
{
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
    uint64_t list = make(&a, MPROC_TYPE_LIST, NULL, mproc_null());
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, NULL, PLAIN);
    const uint64_t objects[] = {dict, list, lock};
    ck_assert_int_eq(call(&a, MPROC__LIST_COUNT, dict, mproc_null()), MPROC_EKEY);
    ck_assert_int_eq(call(&a, MPROC__DICT_COUNT, list, mproc_null()), MPROC_EKEY);
    ck_assert_int_eq(call(&a, MPROC__DICT_COUNT, lock, mproc_null()), MPROC_EKEY);
    ck_assert_int_eq(ask(&a, (mproc__envelope){.method = MPROC__CREATE, .type = 77}, mproc_null()),
                     MPROC_EKEY);
    ck_assert_int_eq(
        ask(&a, (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_LOCK}, mproc_int(1)),
        MPROC_EARGUMENT);
    ck_assert_int_eq(
        ask(&a, (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_LIST}, mproc_int(1)),
        MPROC_EARGUMENT);
    /* Whatever method and arguments come: an answer, and all goes on. */
    for (int method = -3; method < 110; method++)
        for (size_t i = 0; i < 3; i++) {
            if (method == MPROC__RELEASE || method == MPROC__LOCK_ACQUIRE)
                continue;
            call(&a, (mproc__method)method, objects[i], mproc_null());
            call(&a, (mproc__method)method, objects[i], mproc_int(5));
            call(&a, (mproc__method)method, objects[i], MPROC_ARGS("x"));
            call(&a, (mproc__method)method, objects[i], MPROC_ARGS(MPROC_ARGS(1), MPROC_ARGS(1)));
            call(&a, (mproc__method)method, objects[i], MPROC_ARGS(mproc_null(), 1, "x"));
            call(&a, (mproc__method)method, objects[i], MPROC_ARGS(INT64_MIN, INT64_MAX, MPROC_ARGS(1)));
            call(&a, (mproc__method)method, objects[i], MPROC_ARGS(INT64_MIN, 2));
        }
    ck_assert_int_eq(call(&a, MPROC__DICT_COUNT, dict, mproc_null()), 0);
}
END_TEST

START_TEST(names_are_checked)
{
    char name[300];
    memset(name, 'n', 256);
    name[256] = '\0';
    ck_assert_int_eq(ask(&a,
                         (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_DICT, .name = name},
                         mproc_null()),
                     -EINVAL);
    ck_assert_int_eq(ask(&a,
                         (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_DICT, .name = "\xff"},
                         mproc_null()),
                     -EINVAL);
    ck_assert_int_eq(open_named(&a, MPROC_TYPE_DICT, "\xff"), -ENOENT);
    ck_assert_int_eq(open_named(&a, MPROC_TYPE_DICT, ""), -ENOENT);
    ck_assert_int_eq(ask(&a, (mproc__envelope){.method = MPROC__UNLINK, .name = "none"}, mproc_null()),
                     -ENOENT);
}
END_TEST

/* ---- memory ---- */

/* shows: REMOTE-7 WORK-3 */
START_TEST(the_memory_limit_refuses_and_changes_nothing)
{
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
    uint64_t list = make(&a, MPROC_TYPE_LIST, NULL, mproc_null());
    int rc = 0, n = 0;
    while ((rc = call(&a, MPROC__DICT_SET, dict, MPROC_ARGS(n, text))) == 0)
        n++;
    ck_assert_int_eq(rc, MPROC_ELIMIT);
    ck_assert_int_gt(n, 50);
    ck_assert_int_lt(n, 100);
    size_t used = registry.used_bytes;
    ck_assert_int_eq(call(&a, MPROC__LIST_APPEND, list, MPROC_ARGS(text)), MPROC_ELIMIT);
    rc = call(&a, MPROC__DICT_UPDATE, dict, MPROC_ARGS(MPROC_ARGS(MPROC_ARGS("k", text))));
    ck_assert_int_eq(rc, MPROC_ELIMIT);
    ck_assert_uint_eq(registry.used_bytes, used);
    ck_assert_int_eq(call(&a, MPROC__DICT_REMOVE, dict, MPROC_ARGS(0)), 0);
    ck_assert_int_eq(call(&a, MPROC__DICT_SET, dict, MPROC_ARGS("again", text)), 0);
}
END_TEST

START_TEST(memory_is_given_back_by_every_way_out)
{
    uint64_t list = make(&a, MPROC_TYPE_LIST, NULL, MPROC_ARGS(1, "two", 3.0));
    uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, MPROC_ARGS(MPROC_ARGS("k", 1), MPROC_ARGS("k", "v")));
    int rc = call(&a, MPROC__LIST_SPLICE, list, MPROC_ARGS(0, 2, MPROC_ARGS("a", "b", "c")));
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(call(&a, MPROC__LIST_SET, list, MPROC_ARGS(0, "longer than before")), 0);
    ck_assert_int_eq(call(&a, MPROC__LIST_REMOVE, list, MPROC_ARGS(-1)), 0);
    rc = call(&a, MPROC__DICT_SET, dict, MPROC_ARGS("k", MPROC_ARGS(1, 2)));
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(call(&a, MPROC__DICT_REMOVE, dict, MPROC_ARGS("k")), 0);
    mproc__client_gone(&registry, &a.client);
    ck_assert_uint_eq(registry.used_bytes, 0);
}
END_TEST

/* Every request with the n-th allocation failing: not done, or done; the books agree at the end. */
START_TEST(a_server_without_memory_answers_and_goes_on)
{
    const mproc_variant pair[] = {MPROC_ARGS("k", "v"), MPROC_ARGS("l", MPROC_ARGS(1, "x"))};
    mproc_variant pairs = mproc_items(pair, 2);
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        uint64_t dict = make(&a, MPROC_TYPE_DICT, NULL, mproc_null());
        support_fail_allocation(n);
        int rc =
            ask(&b, (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_LIST, .name = "n"}, pairs);
        if (rc == 0)
            rc = call(&b, MPROC__LIST_SPLICE, b.object, MPROC_ARGS(0, 1, pairs));
        if (rc == 0)
            rc = call(&a, MPROC__DICT_UPDATE, dict, MPROC_ARGS(pairs));
        if (rc == 0)
            rc = call(&a, MPROC__DICT_SET, dict, MPROC_ARGS("m", "w"));
        if (rc == 0)
            rc = ask(&a, (mproc__envelope){.method = MPROC__CREATE, .type = MPROC_TYPE_LOCK}, PLAIN);
        uint64_t lock = a.object;
        if (rc == 0 && (rc = acquire(&a, lock, 1, -1)) == 0)
            rc = acquire(&a, lock, 2, 1000000000);
        failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert_msg(rc == -ENOMEM || !failed, "allocation %u: %d", n, rc);
        ck_assert(failed || rc == MPROC__PARKED);
        mproc__client_gone(&registry, &a.client);
        mproc__client_gone(&registry, &b.client);
        ask(&b, (mproc__envelope){.method = MPROC__UNLINK, .name = "n"}, mproc_null());
        ck_assert_uint_eq(registry.used_bytes, 0);
    }
}
END_TEST

/* ---- locks ---- */

START_TEST(a_lock_goes_to_the_one_who_waits_longest)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l") | open_named(&c, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    uint64_t token = a.token;
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED);
    ck_assert_int_eq(acquire(&c, lock, 1, -1), MPROC__PARKED);
    ck_assert_int_eq(acquire(&c, lock, 2, 0), -ETIMEDOUT);
    unsigned before_b = b.answers, before_c = c.answers;
    ck_assert_int_eq(release(&a, lock), 0);
    ck_assert_uint_eq(b.answers, before_b + 1);
    ck_assert_uint_eq(c.answers, before_c);
    ck_assert_int_eq(b.code, 0);
    ck_assert_uint_gt(b.token, token);
    ck_assert_int_eq(release(&a, lock), -EPERM);
    ck_assert_int_eq(release(&b, lock), 0);
    ck_assert_int_eq(c.code, 0);
    ck_assert_uint_gt(c.token, b.token);
}
END_TEST

/* shows: SYNC-06 SYNC-07 PROXY-17 */
START_TEST(a_recursive_lock_belongs_to_one_thread)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, NULL, RECURSIVE);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&a, lock, 2, 0), -ETIMEDOUT);
    ck_assert_int_eq(acquire(&b, lock, 1, 0), -ETIMEDOUT);
    ck_assert_int_eq(release_by(&a, lock, 2), -EPERM);
    ck_assert_int_eq(release_by(&b, lock, 1), -EPERM);
    ck_assert_int_eq(release(&a, lock), 0);
    ck_assert_uint_ne(a.token, 0);
    ck_assert_int_eq(acquire(&a, lock, 2, 0), -ETIMEDOUT);
    ck_assert_int_eq(release(&a, lock), 0);
    ck_assert_uint_eq(a.token, 0);
    ck_assert_int_eq(release(&a, lock), -EPERM);
    ck_assert_int_eq(acquire(&a, lock, 2, 0), 0);
}
END_TEST

/* shows: DEATH-3 DEATH-4 */
START_TEST(a_death_passes_the_lock_on_and_takes_its_waits_along)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l") | open_named(&c, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&a, lock, 2, -1), MPROC__PARKED);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED);
    ck_assert_int_eq(acquire(&c, lock, 1, -1), MPROC__PARKED);
    unsigned before = a.answers;
    mproc__client_gone(&registry, &a.client);
    ck_assert_uint_eq(a.answers, before);
    ck_assert_int_eq(b.code, MPROC_RECOVERED);
    mproc__client_gone(&registry, &b.client);
    ck_assert_int_eq(c.code, MPROC_RECOVERED);
    ck_assert_int_eq(release(&c, lock), 0);
    ck_assert_int_eq(acquire(&c, lock, 1, 0), 0);
}
END_TEST

START_TEST(a_death_while_nobody_waits_is_told_to_the_next)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    mproc__client_gone(&registry, &a.client);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, 0), MPROC_RECOVERED);
    ck_assert_int_eq(release(&b, lock), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, 0), 0);
}
END_TEST

/* shows: DEATH-3 */
START_TEST(poison_fails_all_until_repair)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", POISON);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED);
    mproc__client_gone(&registry, &a.client);
    ck_assert_int_eq(b.code, MPROC_EPOISONED);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC_EPOISONED);
    ck_assert_int_eq(call(&b, MPROC__LOCK_REPAIR, lock, mproc_null()), 0);
    ck_assert_int_eq(call(&b, MPROC__LOCK_REPAIR, lock, mproc_null()), MPROC_ESTATE);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), 0);
}
END_TEST

static int cancel(fake *self, uint64_t lock, uint64_t holder, uint64_t target)
{
    return ask(self,
               (mproc__envelope){.method = MPROC__CANCEL, .object = lock, .holder = holder, .target = target},
               mproc_null());
}

START_TEST(a_cancelled_wait_never_gets_the_lock)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED);
    ck_assert_int_eq(cancel(&b, lock, 1, last_id), 0);
    ck_assert_uint_eq(b.client.parked_count, 0);
    ck_assert_int_eq(release(&a, lock), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, 0), 0);
}
END_TEST

/* The grant was already on its way. */
START_TEST(a_cancel_that_comes_late_undoes_the_grant)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l") | open_named(&c, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED);
    uint64_t target = last_id;
    ck_assert_int_eq(acquire(&c, lock, 1, -1), MPROC__PARKED);
    mproc__client_gone(&registry, &a.client);
    ck_assert_int_eq(b.code, MPROC_RECOVERED);
    ck_assert_int_eq(cancel(&c, lock, 1, target), 0); /* not its own */
    ck_assert_int_ne(c.code, MPROC_RECOVERED);
    ck_assert_int_eq(cancel(&b, lock, 1, target), 0);
    ck_assert_int_eq(c.code, MPROC_RECOVERED); /* what nobody was told is told to the next */
    ck_assert_int_eq(cancel(&c, lock, 1, target), 0);
    ck_assert_int_eq(release(&c, lock), 0);
}
END_TEST

START_TEST(a_cancel_of_an_older_request_takes_nothing_away)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, NULL, RECURSIVE);
    ck_assert_int_eq(acquire(&a, lock, 1, 0), 0);
    uint64_t first = last_id;
    ck_assert_int_eq(acquire(&a, lock, 1, 0), 0);
    ck_assert_int_eq(cancel(&a, lock, 1, first), 0);
    ck_assert_int_eq(cancel(&a, lock, 1, 0), 0);
    ck_assert_int_eq(release(&a, lock) | release(&a, lock), 0);
    ck_assert_int_eq(release(&a, lock), -EPERM);
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, "l", PLAIN);
    ck_assert_int_eq(open_named(&b, MPROC_TYPE_LOCK, "l"), 0);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, 1000), MPROC__PARKED);
    ck_assert_int_ne(b.code, -ETIMEDOUT);
    mproc_deadline limit = mproc_after_ms(support_ms(2000));
    while (b.code != -ETIMEDOUT && !mproc__deadline_past(limit))
        mproc__timers_run(&registry.timers);
    ck_assert_int_eq(b.code, -ETIMEDOUT);
    ck_assert_uint_eq(b.client.parked_count, 0);
}
END_TEST

/* shows: REMOTE-7 */
START_TEST(waiting_requests_have_a_limit)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, NULL, PLAIN);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    for (uint64_t i = 0; i < MPROC__PARKED_PER_CLIENT; i++)
        ck_assert_int_eq(acquire(&a, lock, i + 2, -1), MPROC__PARKED);
    ck_assert_int_eq(acquire(&a, lock, 1 << 20, -1), MPROC_ELIMIT);
}
END_TEST

START_TEST(a_lock_that_goes_away_answers_those_who_wait)
{
    uint64_t lock = make(&a, MPROC_TYPE_LOCK, NULL, PLAIN);
    ck_assert_int_eq(acquire(&a, lock, 1, -1), 0);
    ck_assert_int_eq(acquire(&b, lock, 1, -1), MPROC__PARKED); /* without holding it */
    ck_assert_int_eq(ask(&a, (mproc__envelope){.method = MPROC__RELEASE, .object = lock}, mproc_null()), 0);
    ck_assert_int_eq(b.code, MPROC_ESTALE);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("serve");
    TCase *objects = support_case(suite, "objects");
    tcase_add_checked_fixture(objects, begin, end);
    tcase_add_test(objects, an_unnamed_object_goes_with_its_last_holder);
    tcase_add_test(objects, releasing_what_is_not_held_does_nothing);
    tcase_add_test(objects, an_object_of_another_life_is_stale);
    tcase_add_test(objects, unknown_methods_types_and_arguments_fail_alone);
    tcase_add_test(objects, names_are_checked);
    tcase_add_test(objects, the_memory_limit_refuses_and_changes_nothing);
    tcase_add_test(objects, memory_is_given_back_by_every_way_out);
    tcase_add_test(objects, a_server_without_memory_answers_and_goes_on);
    TCase *locks = support_case(suite, "locks");
    tcase_add_checked_fixture(locks, begin, end);
    tcase_add_test(locks, a_lock_goes_to_the_one_who_waits_longest);
    tcase_add_test(locks, a_recursive_lock_belongs_to_one_thread);
    tcase_add_test(locks, a_death_passes_the_lock_on_and_takes_its_waits_along);
    tcase_add_test(locks, a_death_while_nobody_waits_is_told_to_the_next);
    tcase_add_test(locks, poison_fails_all_until_repair);
    tcase_add_test(locks, a_cancelled_wait_never_gets_the_lock);
    tcase_add_test(locks, a_cancel_that_comes_late_undoes_the_grant);
    tcase_add_test(locks, a_cancel_of_an_older_request_takes_nothing_away);
    tcase_add_test(locks, a_wait_ends_at_its_deadline);
    tcase_add_test(locks, waiting_requests_have_a_limit);
    tcase_add_test(locks, a_lock_that_goes_away_answers_those_who_wait);
    return support_run(suite, argc, argv);
}
