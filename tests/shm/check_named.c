/* SPDX-License-Identifier: BSD-2-Clause */
/* Names in /dev/shm: which there may be, files that are not ours, modes, persistence, locks held by others, races. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/named.h"
#include "shm/named_common.h"
#include "shm/segment_inside.h"
#include "shm/shm.h"
#include "support/support.h"

enum { NOBODY = 65534 };

static mproc_place *place, *bare;
static mproc_shm *shm, *other;

static void begin(void)
{
    mproc__noun_register(&mproc__shm_noun);
    ck_assert_int_eq(mproc__place_shm("shm:/check", NULL, &place), 0);
    ck_assert_int_eq(mproc__place_shm("shm:", NULL, &bare), 0);
}

static void end(void)
{
    mproc_shm_close(&shm);
    mproc_shm_close(&other);
    mproc_place_close(&place);
    mproc_place_close(&bare);
    ck_assert_uint_eq(named_count("check%"), 0);
    ck_assert_uint_eq(named_count(".mproc-"), 0);
}

static int make_in(mproc_place *where, const char *name)
{
    return mproc_shm_create(where, 100, MPROC_WITH(mproc_shm_options, .name = name), &shm);
}

static int make(const char *name)
{
    return make_in(place, name);
}

/* ---- names ---- */

/* An embedded NUL ends a C string: what is behind it is not part of the name, so it cannot lead elsewhere.
 * shows: SHM-08 TRACK-07 */
START_TEST(bad_names_are_refused_before_anything_is_touched)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a%b", "%", ".mproc-1"};
    char name[300];
    begin();
    unsigned before = named_count("");
    for (size_t i = 0; i < MPROC__COUNT(bad); i++) {
        mproc_place *none = NULL;
        snprintf(name, sizeof(name), "shm:/%s", bad[i]);
        ck_assert_int_eq(mproc__place_shm(name, NULL, &none), -EINVAL);
        ck_assert_ptr_null(none);
        ck_assert_int_eq(make(bad[i]), -EINVAL);
        ck_assert_int_eq(mproc_shm_open(place, bad[i], &shm), -EINVAL);
        ck_assert_int_eq(mproc_shm_open_to_read(bare, bad[i], &shm), -EINVAL);
        ck_assert_int_eq(mproc_place_unlink(bare, bad[i]), -EINVAL);
    }
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    ck_assert_int_eq(make_in(bare, name), -ENAMETOOLONG);
    ck_assert_int_eq(mproc_place_unlink(bare, name), -ENAMETOOLONG);
    name[255 - strlen("check%") + 1] = '\0';
    ck_assert_int_eq(make(name), -ENAMETOOLONG);
    ck_assert_ptr_null(shm);
    ck_assert_uint_eq(named_count(""), before);
    end();
}
END_TEST

START_TEST(the_longest_names_work)
{
    char name[300];
    begin();
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    ck_assert_int_eq(make_in(bare, name), 0);
    ck_assert_str_eq(mproc_shm_name(shm), name);
    ck_assert(named_exists(name));
    mproc_shm_close(&shm);
    name[255 - strlen("check%")] = '\0';
    ck_assert_int_eq(make(name), 0);
    ck_assert_str_eq(mproc_shm_name(shm), name);
    ck_assert_int_eq(mproc_shm_open_to_read(place, name, &other), 0);
    ck_assert_str_eq(mproc_shm_name(other), name);
    end();
}
END_TEST

static const char *const odd_names[] = {":",   ":a",    "a:", "a:b:c", "\n",       "\na",
                                        "a\n", "a\nb:", " ",  "\\",    "\x01\xff", "-rf"};

/* shows: TRACK-08 */
START_TEST(names_with_colons_and_newlines_anywhere_are_made_listed_and_removed)
{
    const char *name = odd_names[_i];
    char address[64];
    mproc_place *odd;
    mproc_variant list, item;
    size_t bytes;
    mproc__noun_register(&mproc__shm_noun);
    snprintf(address, sizeof(address), "shm:/check%s", name);
    ck_assert_int_eq(mproc__place_shm(address, NULL, &odd), 0);
    ck_assert_int_eq(make_in(odd, name), 0);
    ck_assert_int_eq(mproc_shm_open(odd, name, &other), 0);
    ck_assert_int_eq(mproc_place_names(odd, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 1);
    item = mproc_variant_find(mproc_variant_at(list, 0), "name");
    if (item.kind == MPROC_KIND_TEXT) {
        ck_assert_str_eq(mproc_variant_get_text(item), name);
    } else { /* not UTF-8 */
        ck_assert_ptr_nonnull(mproc_variant_get_bytes(item, &bytes));
        ck_assert_uint_eq(bytes, strlen(name));
        ck_assert_mem_eq(mproc_variant_get_bytes(item, &bytes), name, bytes);
    }
    mproc_variant_clear(&list);
    ck_assert_int_eq(mproc_place_unlink(odd, name), 0);
    ck_assert_int_eq(mproc_shm_open(odd, name, &shm), -ENOENT);
    mproc_shm_close(&shm);
    mproc_shm_close(&other);
    ck_assert_int_eq(make_in(odd, name), 0);
    mproc_shm_close(&shm);
    ck_assert_uint_eq(named_count("check"), 0);
    mproc_place_close(&odd);
}
END_TEST

START_TEST(places_keep_their_names_apart)
{
    mproc_place *second;
    mproc_variant list;
    begin();
    ck_assert_int_eq(mproc__place_shm("shm:/check2", NULL, &second), 0);
    ck_assert_str_eq(mproc_place_address(second), "shm:/check2");
    ck_assert_str_eq(mproc_place_address(bare), "shm:");
    ck_assert_int_eq(make("one"), 0);
    ck_assert_int_eq(mproc_shm_open(second, "one", &other), -ENOENT);
    ck_assert_int_eq(mproc_shm_open(bare, "one", &other), -ENOENT);
    ck_assert_int_eq(mproc_place_names(second, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 0);
    mproc_variant_clear(&list);
    mproc_place_close(&second);
    ck_assert_int_eq(mproc__place_shm("shm:check", NULL, &second), -EINVAL);
    end();
}
END_TEST

/* ---- files that are not ours, or no longer ---- */

static double seconds(void)
{
    return (double)mproc__now_ns() / 1e9;
}

/* Opening it fails as it should, in no time, and unlinking is the cure. */
static void refused(const char *name, int code, bool left_alone)
{
    char file[64];
    double before = seconds();
    unsigned removed;
    snprintf(file, sizeof(file), "check%%%s", name);
    ck_assert_int_eq(mproc_shm_open(place, name, &other), code);
    ck_assert_int_eq(mproc_shm_open_to_read(place, name, &other), code);
    ck_assert_int_eq(
        mproc_shm_create(place, 10, MPROC_WITH(mproc_shm_options, .name = name, .and_open = true), &other),
        code);
    ck_assert(seconds() - before < 1.0);
    ck_assert_ptr_null(other);
    if (left_alone) {
        ck_assert_int_eq(mproc_cleanup(&removed), 0);
        ck_assert(named_exists(file));
    }
}

/* shows: MEM-2 */
START_TEST(files_of_others_are_refused_and_left_alone)
{
    static const char text[20000] = "not a segment";
    char path[300];
    begin();
    named_write("check%text", text, strlen(text));
    named_write("check%long", text, sizeof(text));
    named_write("check%empty", "", 0);
    ck_assert_int_eq(mkdir(named_path("check%directory", path), 0700), 0);
    ck_assert_int_eq(mkfifo(named_path("check%fifo", path), 0600), 0);
    ck_assert_int_eq(make("good"), 0);
    ck_assert_int_eq(symlink("/dev/shm/check%good", named_path("check%link", path)), 0);
    ck_assert_int_eq(symlink("/dev/shm/check%none", named_path("check%dangling", path)), 0);
    static const char *const names[] = {"text", "long", "empty", "directory", "fifo", "link", "dangling"};
    for (size_t i = 0; i < MPROC__COUNT(names); i++)
        refused(names[i], MPROC_ECORRUPT, true);
    mproc_variant list;
    ck_assert_int_eq(mproc_place_names(place, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 1);
    mproc_variant_clear(&list);
    for (size_t i = 0; i < MPROC__COUNT(names); i++)
        if (strcmp(names[i], "directory") != 0)
            ck_assert_int_eq(mproc_place_unlink(place, names[i]), 0);
    ck_assert_int_lt(mproc_place_unlink(place, "directory"), 0);
    ck_assert_int_eq(rmdir(named_path("check%directory", path)), 0);
    end();
}
END_TEST

#define FIELD(field) offsetof(mproc__header_shared, field)

typedef struct damage {
    size_t offset, bytes;
    uint64_t value;
    off_t file_bytes; /* -1: as it is */
    int code;
} damage;

static const damage damages[] = {
    {FIELD(magic), 8, 0, -1, MPROC_ECORRUPT},
    {FIELD(version), 4, MPROC__SEGMENT_VERSION - 1, -1, MPROC_ECORRUPT},
    {FIELD(version), 4, UINT32_MAX, -1, MPROC_ECORRUPT},
    {FIELD(kind), 4, MPROC_TYPE_LOCK, -1, -EINVAL},
    {FIELD(kind), 4, 4711, -1, -EINVAL},
    {FIELD(size_bytes), 8, 0, -1, MPROC_ECORRUPT},
    {FIELD(size_bytes), 8, UINT64_MAX, -1, MPROC_ECORRUPT},
    {FIELD(size_bytes), 8, 1 << 20, -1, MPROC_ECORRUPT},
    {FIELD(root_offset), 4, 0, -1, MPROC_ECORRUPT},
    {FIELD(root_offset), 4, UINT32_MAX, -1, MPROC_ECORRUPT},
    {FIELD(row_count), 4, UINT32_MAX, -1, MPROC_ECORRUPT},
    {FIELD(pid_namespace), 8, 1, -1, MPROC_ENAMESPACE},
    {FIELD(time_namespace), 8, 1, -1, MPROC_ENAMESPACE},
    {FIELD(flags), 4, 0, -1, MPROC_ECORRUPT},
    {FIELD(label), 8, 0x2f2f2f2f2f2f2f2f, -1, MPROC_ECORRUPT}, /* slashes: would lead elsewhere */
    {FIELD(reserved_bytes), 8, UINT64_MAX, -1, MPROC_ECORRUPT},
    {FIELD(magic), 0, 0, 0, MPROC_ECORRUPT}, /* cut short */
    {FIELD(magic), 0, 0, 7, MPROC_ECORRUPT},
    {FIELD(magic), 0, 0, FIELD(membership), MPROC_ECORRUPT},
    {FIELD(magic), 0, 0, FIELD(rows), MPROC_ECORRUPT},
    {FIELD(magic), 0, 0, MPROC__ROOT_OFFSET, MPROC_ECORRUPT},
    {FIELD(magic), 0, 0, MPROC__ROOT_OFFSET + 99, MPROC_ECORRUPT},
};

/* shows: MEM-2 */
START_TEST(damaged_truncated_and_older_files_are_refused_at_once)
{
    const damage *d = &damages[_i];
    begin();
    mproc_place_close(&place);
    mproc_place_options keep = {.size = sizeof(keep), .persist = true};
    ck_assert_int_eq(mproc__place_shm("shm:/check", &keep, &place), 0);
    ck_assert_int_eq(make("one"), 0);
    mproc_shm_close(&shm);
    named_damage("check%one", (off_t)d->offset, &d->value, d->bytes, d->file_bytes);
    refused("one", d->code, true);
    ck_assert_int_eq(mproc_place_unlink(place, "one"), 0);
    end();
}
END_TEST

/* A good header in front of nothing: in a full /dev/shm the first touch of a hole would be SIGBUS.
 * shows: MEM-2 */
START_TEST(a_file_with_holes_is_refused)
{
    char path[300];
    static unsigned char bytes[MPROC__ROOT_OFFSET];
    begin();
    ck_assert_int_eq(mproc_shm_create(place, 1 << 20, MPROC_WITH(mproc_shm_options, .name = "one"), &shm), 0);
    int fd = open(named_path("check%one", path), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    close(fd);
    named_write("check%two", bytes, sizeof(bytes));
    ck_assert_int_eq(truncate(named_path("check%two", path), (1 << 20) + (off_t)MPROC__ROOT_OFFSET), 0);
    refused("two", MPROC_ECORRUPT, false);
    ck_assert_int_eq(mproc_place_unlink(place, "two"), 0);
    end();
}
END_TEST

/* Whatever stands in the header, opening answers something, and what it answers 0 for can be used.
 * shows: MEM-2 */
START_TEST(no_garbage_in_a_header_does_harm)
{
    static unsigned char original[MPROC__ROOT_OFFSET + 4096], bytes[sizeof(original)];
    char path[300];
    unsigned opened = 0;
    begin();
    ck_assert_int_eq(make("one"), 0);
    int fd = open(named_path("check%one", path), O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, original, sizeof(original), 0);
    ck_assert_int_gt(got, (ssize_t)MPROC__ROOT_OFFSET);
    close(fd);
    for (unsigned round = 0; round < 2000; round++) {
        srand(round);
        memcpy(bytes, original, sizeof(bytes));
        for (int i = rand() % 4; i >= 0; i--)
            bytes[(size_t)rand() % FIELD(rows)] = (unsigned char)rand();
        named_write("check%two", bytes, (size_t)got);
        int code = mproc_shm_open(place, "two", &other);
        if (code == 0) {
            memset(mproc_shm_data(other), 1, mproc_shm_size(other));
            opened++;
        }
        ck_assert_msg(code == 0 || code == MPROC_ECORRUPT || code == -EINVAL || code == MPROC_ENAMESPACE,
                      "round %u: %d", round, code);
        mproc_shm_close(&other);
        ck_assert_int_eq(mproc_cleanup(NULL), 0);
    }
    ck_assert_uint_gt(opened, 0);
    if (named_exists("check%two"))
        ck_assert_int_eq(mproc_place_unlink(place, "two"), 0);
    end();
}
END_TEST

/* ---- who may ---- */

static mode_t mode_of(const char *file)
{
    char path[300];
    struct stat status;
    return lstat(named_path(file, path), &status) == 0 ? status.st_mode & 07777 : 0;
}

static int opens_as_nobody(void *read_only)
{
    mproc_shm *mine = NULL;
    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return 1;
    int code = read_only ? mproc_shm_open_to_read(place, "one", &mine) : mproc_shm_open(place, "one", &mine);
    bool same = code == 0 && strcmp(mproc_shm_data(mine), "hello") == 0;
    if (mproc_place_unlink(place, "one") == 0)
        return 2;
    if (mproc_cleanup(NULL) < 0)
        return 3;
    mproc_shm_close(&mine);
    return code == 0 ? (same ? 10 : 4) : code == -EACCES ? 11 : 5;
}

START_TEST(the_mode_says_who_may_open_and_nobody_else_may_unlink)
{
    static const struct {
        uint32_t asked;
        mode_t mode;
        int to_write, to_read;
    } modes[] = {{0, 0600, 11, 11}, {0640, 0640, 11, 11}, {0644, 0644, 11, 10}, {0666, 0666, 10, 10}};
    begin();
    umask(0077);
    for (size_t i = 0; i < MPROC__COUNT(modes); i++) {
        ck_assert_int_eq(
            mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one", .mode = modes[i].asked),
                             &shm),
            0);
        strcpy(mproc_shm_data(shm), "hello");
        ck_assert_uint_eq(mode_of("check%one"), modes[i].mode);
        if (geteuid() == 0) {
            ck_assert_int_eq(support_reap(support_fork(opens_as_nobody, NULL), 5000), modes[i].to_write);
            ck_assert_int_eq(support_reap(support_fork(opens_as_nobody, &other), 5000), modes[i].to_read);
        }
        ck_assert(named_exists("check%one"));
        mproc_shm_close(&shm);
    }
    if (geteuid() != 0)
        named_skipped("other users: needs root");
    end();
}
END_TEST

static int writes_to_it(void *unused)
{
    (void)unused;
    *(volatile char *)mproc_shm_data(other) = 1;
    return 0;
}

START_TEST(memory_opened_to_read_cannot_be_written)
{
    begin();
    ck_assert_int_eq(make("one"), 0);
    ck_assert_int_eq(mproc_shm_open_to_read(place, "one", &other), 0);
    strcpy(mproc_shm_data(shm), "hello");
    ck_assert_str_eq(mproc_shm_data(other), "hello");
    ck_assert_uint_eq(mproc_shm_size(other), 100);
    pid_t child = support_fork(writes_to_it, NULL);
    int status = support_reap(child, 5000);
    ck_assert_msg(status == 256 + SIGSEGV || status == 1 /* of a sanitizer */, "%d", status);
    mproc_shm_close(&shm);
    ck_assert(named_exists("check%one"));
    mproc_shm_close(&other);
    ck_assert(!named_exists("check%one"));
    ck_assert_int_eq(mproc_shm_open_to_read(NULL, "one", &other), MPROC_EPLACE);
    ck_assert_int_eq(mproc_shm_open_to_read(place, NULL, &other), -EINVAL);
    ck_assert_int_eq(mproc_shm_open_to_read(place, "one", NULL), -EINVAL);
    end();
}
END_TEST

/* ---- how long a name stays ---- */

START_TEST(a_name_goes_with_its_last_user_unless_it_persists)
{
    begin();
    ck_assert_int_eq(make("one"), 0);
    mproc_shm_close(&shm);
    ck_assert(!named_exists("check%one"));
    ck_assert_int_eq(
        mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one", .persist = true), &shm), 0);
    strcpy(mproc_shm_data(shm), "hello");
    mproc_shm_close(&shm);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), 0);
    ck_assert_str_eq(mproc_shm_data(shm), "hello");
    mproc_shm_close(&shm);
    ck_assert_int_eq(mproc_place_unlink(place, "one"), 0);
    end();
}
END_TEST

static int child_waits(void *unused)
{
    (void)unused;
    return pause();
}

START_TEST(a_fork_child_that_has_it_keeps_the_name)
{
    begin();
    ck_assert_int_eq(make("one"), 0);
    pid_t child = support_fork(child_waits, NULL);
    mproc_shm_close(&shm);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    ck_assert(named_exists("check%one"));
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), 0);
    mproc_shm_close(&shm);
    support_kill(child);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    end();
}
END_TEST

/* ---- somebody's exclusive lock ---- */

static int holds_exclusively(void *unused)
{
    char path[300];
    (void)unused;
    int fd = open(named_path("check%one", path), O_RDONLY | O_CLOEXEC);
    return flock(fd, LOCK_EX) < 0 ? 1 : pause();
}

START_TEST(a_stopped_cleaner_holds_up_an_opener_for_a_second_and_a_dead_one_nobody)
{
    begin();
    ck_assert_int_eq(
        mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one", .persist = true), &shm), 0);
    mproc_shm_close(&shm);
    pid_t child = support_fork(holds_exclusively, NULL);
    ck_assert(support_until_asleep(child, 5000));
    double before = seconds();
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), -EBUSY);
    ck_assert(seconds() - before < support_ms(3000) / 1000.0);
    ck_assert_int_eq(mproc_cleanup(NULL), 0);
    support_kill(child);
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), 0);
    ck_assert_int_eq(mproc_place_unlink(place, "one"), 0);
    end();
}
END_TEST

static int unlinks(void *unused)
{
    (void)unused;
    return mproc_place_unlink(place, "one") == 0 ? 0 : 1;
}

/* A cleaner that has looked and not yet unlinked would take the name of whatever has it by then. */
START_TEST(unlink_leaves_a_name_to_the_cleaner_that_is_about_to_take_it)
{
    begin();
    ck_assert_int_eq(
        mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one", .persist = true), &shm), 0);
    mproc_shm_close(&shm);
    pid_t cleaner = support_fork(holds_exclusively, NULL);
    ck_assert(support_until_asleep(cleaner, 5000));
    ck_assert_int_eq(mproc_place_unlink(place, "one"), -EBUSY);
    ck_assert(named_exists("check%one"));
    pid_t child = support_fork(unlinks, NULL);
    ck_assert(named_exists("check%one"));
    support_kill(cleaner);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert(!named_exists("check%one"));
    end();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("named");
    TCase *names = support_case(suite, "names");
    tcase_add_test(names, bad_names_are_refused_before_anything_is_touched);
    tcase_add_test(names, the_longest_names_work);
    tcase_add_loop_test(names, names_with_colons_and_newlines_anywhere_are_made_listed_and_removed, 0,
                        (int)MPROC__COUNT(odd_names));
    tcase_add_test(names, places_keep_their_names_apart);
    TCase *files = support_case(suite, "files");
    tcase_add_test(files, files_of_others_are_refused_and_left_alone);
    tcase_add_loop_test(files, damaged_truncated_and_older_files_are_refused_at_once, 0,
                        (int)MPROC__COUNT(damages));
    tcase_add_test(files, a_file_with_holes_is_refused);
    tcase_add_test(files, no_garbage_in_a_header_does_harm);
    TCase *users = support_case(suite, "users");
    tcase_add_test(users, the_mode_says_who_may_open_and_nobody_else_may_unlink);
    tcase_add_test(users, memory_opened_to_read_cannot_be_written);
    tcase_add_test(users, a_name_goes_with_its_last_user_unless_it_persists);
    tcase_add_test(users, a_fork_child_that_has_it_keeps_the_name);
    tcase_add_test(users, a_stopped_cleaner_holds_up_an_opener_for_a_second_and_a_dead_one_nobody);
    tcase_add_test(users, unlink_leaves_a_name_to_the_cleaner_that_is_about_to_take_it);
    return support_run(suite, argc, argv);
}
