/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts where something is used up: descriptors, processes (of a user, of a cgroup), address space, /dev/shm. A little more
 * is allowed each time, until the start works: before that it is an error that names the step, nothing is left, and with
 * the limit gone the next start works. What is left is found by counting, as in check_start_faults.c. */
#include "platform/base.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "process/census.h"
#include "process/program_support.h"
#include "process/sandbox.h"

enum {
    BY_PROGRAM = ALL_METHODS,
    KINDS,
    MOST = 400,
    USER = 54321,
    OWNER_MS = 10000,
    ALIKE = 6,
    LEFT_MS = 2000
};

typedef enum answer { STARTED, REFUSED, CANNOT, NO_STORY, NO_NEXT, RESTLESS } answer;

/* What the owner of a round says, in memory that it shares with the test. */
typedef struct verdict {
    answer answer;
    int rc;
    census left;
    char story[512];
} verdict;

typedef struct shortage {
    const char *name;
    bool (*possible)(void);
    bool (*begin)(void);       /* before anything is started */
    bool (*allow)(unsigned n); /* the n-th least */
    bool (*lift)(void);
    bool reaches_children; /* a child that was started may fail of it */
} shortage;

typedef struct round_of {
    const shortage *of;
    int kind;
    bool warm;
    unsigned n;
    verdict *verdict;
    const census *reference; /* of the round without a shortage; NULL: this is it */
} round_of;

/* ---- descriptors ---- */

static struct rlimit before;
static rlim_t base;

static bool always(void)
{
    return true;
}

static bool files_begin(void)
{
    return getrlimit(RLIMIT_NOFILE, &before) == 0;
}

static bool files_allow(unsigned n)
{
    return setrlimit(RLIMIT_NOFILE, &(struct rlimit){2 + n, before.rlim_max}) == 0;
}

static bool files_lift(void)
{
    return setrlimit(RLIMIT_NOFILE, &before) == 0;
}

/* ---- processes of a user ---- */

static bool is_root(void)
{
    return geteuid() == 0;
}

/* A user of our own, who has no processes; one that was root keeps no way to its /proc otherwise. */
static bool user_begin(void)
{
    return getrlimit(RLIMIT_NPROC, &before) == 0 && setresgid(USER, USER, USER) == 0 &&
           setresuid(USER, USER, USER) == 0;
}

static bool user_allow(unsigned n)
{
    return setrlimit(RLIMIT_NPROC, &(struct rlimit){n, before.rlim_max}) == 0;
}

static bool user_lift(void)
{
    return setrlimit(RLIMIT_NPROC, &before) == 0;
}

/* ---- processes of a cgroup ---- */

static char group[128];

static bool file_write(const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", group, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool well = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return well;
}

/* A group of our own, version 1 or 2. */
static bool group_possible(void)
{
    static const char *const roots[] = {"/sys/fs/cgroup/pids", "/sys/fs/cgroup"};
    for (size_t i = 0; i < MPROC__COUNT(roots); i++) {
        snprintf(group, sizeof group, "%s/mproc-check-%d", roots[i], (int)getpid());
        if (mkdir(group, 0755) != 0)
            continue;
        if (file_write("pids.max", "max"))
            return true;
        rmdir(group);
    }
    return false;
}

static bool group_begin(void)
{
    return file_write("cgroup.procs", "0");
}

static bool group_allow(unsigned n)
{
    char text[16];
    snprintf(text, sizeof text, "%u", n);
    return file_write("pids.max", text);
}

static bool group_lift(void)
{
    return file_write("pids.max", "max");
}

/* ---- address space ---- */

/* The sanitizers take terabytes, and end the process without. */
static bool space_possible(void)
{
#ifdef MPROC__SANITIZED
    return false;
#else
    return true;
#endif
}

static bool space_begin(void)
{
    return getrlimit(RLIMIT_AS, &before) == 0;
}

static rlim_t space_now(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static bool space_allow(unsigned n)
{
    if (base == 0)
        base = space_now();
    return setrlimit(RLIMIT_AS, &(struct rlimit){base + (rlim_t)(n - 1) * 98304, before.rlim_max}) == 0;
}

static bool space_lift(void)
{
    return setrlimit(RLIMIT_AS, &before) == 0;
}

/* ---- /dev/shm, where memfd_create is denied ---- */

static bool shm_size(unsigned long bytes, unsigned long flags)
{
    char options[64];
    snprintf(options, sizeof options, "size=%lu", bytes);
    return mount("none", "/dev/shm", "tmpfs", flags, options) == 0;
}

/* A /dev/shm of our own. */
static bool shm_begin(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           shm_size(64 << 20, 0) && deny(MEMFD_CREATE, EPERM) == 0;
}

static bool shm_allow(unsigned n)
{
    struct statvfs now;
    if (statvfs("/dev/shm", &now) != 0)
        return false;
    return shm_size((now.f_blocks - now.f_bfree) * now.f_bsize + (n - 1) * 65536UL + 4096, MS_REMOUNT);
}

static bool shm_lift(void)
{
    return shm_size(64 << 20, MS_REMOUNT);
}

static int shm_try(void *unused)
{
    (void)unused;
    return shm_begin() ? 0 : 1;
}

static bool shm_possible(void)
{
    int status = is_root() ? support_reap(support_fork(shm_try, NULL), OWNER_MS) : 1;
    return status == 0;
}

/* Where the sanitizers look for leaks at its end, a child needs a process more than the start did. */
#ifdef MPROC__SANITIZED
enum { PROCESSES_REACH = true };
#else
enum { PROCESSES_REACH = false };
#endif

static const shortage shortages[] = {
    {"descriptors", always, files_begin, files_allow, files_lift, true},
    {"processes of a user", is_root, user_begin, user_allow, user_lift, PROCESSES_REACH},
    {"processes of a cgroup", group_possible, group_begin, group_allow, group_lift, PROCESSES_REACH},
    {"/dev/shm", shm_possible, shm_begin, shm_allow, shm_lift, false},
    {"address space", space_possible, space_begin, space_allow, space_lift, true},
};

/* ---- the owner ---- */

static int begin(int kind, mproc_process **ret_process)
{
    if (kind == BY_PROGRAM)
        return mproc_process_start_program(ARGV("true"), OPTIONS(.capture = true), ret_process);
    return mproc_process_start(nothing, MPROC_ARGS("text", mproc_fd(0)),
                               MPROC_WITH(mproc_process_options, .start = (mproc_start)kind), ret_process);
}

static bool finish(mproc_process **process, bool must_be_well)
{
    int exit_code = -1;
    bool well = mproc_process_join(*process, mproc_after_ms(support_ms(OWNER_MS)), &exit_code) == 0 &&
                (exit_code == 0 || !must_be_well);
    mproc_process_close(process);
    return well;
}

static bool whole(int kind)
{
    mproc_process *process = NULL;
    return begin(kind, &process) == 0 && finish(&process, true);
}

/* As after the round without a shortage, which ends when nothing changes any more. */
static bool rests(void *context)
{
    static int alike; /* looks in a row: a nursery on its way may have no CPU between two */
    const round_of *r = context;
    census earlier = r->verdict->left;
    r->verdict->left = census_take();
    if (r->reference)
        return memcmp(r->reference, &r->verdict->left, sizeof earlier) == 0 &&
               r->verdict->left.grandchildren == 0;
    alike = memcmp(&earlier, &r->verdict->left, sizeof earlier) == 0 ? alike + 1 : 0;
    return alike >= ALIKE && r->verdict->left.grandchildren == 0;
}

static answer answer_of(const round_of *r, verdict *v)
{
    mproc_process *process = NULL;
    mproc_set_spares(0);
    if (!r->of->begin() || (r->warm && !whole(r->kind)) || !r->of->allow(r->n))
        return CANNOT;
    v->rc = begin(r->kind, &process);
    snprintf(v->story, sizeof v->story, "%s", v->rc < 0 ? mproc_error_text(mproc_last_error()) : "");
    bool named = strstr(v->story, "start: ") || strstr(v->story, "start_program") ||
                 strstr(v->story, "the child's first steps: ");
    if (!r->of->lift())
        return CANNOT;
    if (v->rc < 0 && (process || !named))
        return NO_STORY;
    if (v->rc == 0 && !finish(&process, !r->of->reaches_children))
        return NO_NEXT;
    if (!whole(r->kind)) {
        snprintf(v->story, sizeof v->story, "%s", mproc_error_text(mproc_last_error()));
        return NO_NEXT;
    }
    if (!support_until(rests, (void *)(uintptr_t)r, LEFT_MS))
        return RESTLESS;
    return v->rc < 0 ? REFUSED : STARTED;
}

static int owner(void *context)
{
    const round_of *r = context;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC); /* the dynamic linker of a child complains */
    dup2(fd, 2);
    close(fd);
    r->verdict->answer = answer_of(r, r->verdict);
    return 0;
}

/* ---- the test ---- */

static void owner_run(const round_of *r)
{
    memset(r->verdict, 0, sizeof *r->verdict);
    r->verdict->answer = CANNOT;
    ck_assert_int_eq(support_reap(support_fork(owner, (void *)(uintptr_t)r), 4 * OWNER_MS), 0);
    ck_assert(support_until(nobody_is_left, NULL, OWNER_MS));
    const verdict *v = r->verdict;
    const census none = {0}, *left = &v->left, *due = r->reference ? r->reference : &none;
    ck_assert_msg(
        v->answer <= REFUSED,
        "%s, %u, kind %d%s: answer %d, %d %s; there were %d (%d) descriptors, %d (%d) mappings, %d (%d) "
        "children with %d (%d) descriptors",
        r->of->name, r->n, r->kind, r->warm ? ", later" : "", v->answer, v->rc, v->story, left->descriptors,
        due->descriptors, left->mappings, due->mappings, left->children, due->children,
        left->childrens_descriptors, due->childrens_descriptors);
    if (getenv("MPROC_START_LIMITS_VERBOSE"))
        fprintf(stderr, "%s, %u, kind %d%s: %d %s\n", r->of->name, r->n, r->kind, r->warm ? ", later" : "",
                v->rc, v->story);
}

/* How many were refused. */
static unsigned sweep(const shortage *of, int kind, bool warm)
{
    round_of r = {.of = of, .kind = kind, .warm = warm, .n = MOST};
    r.verdict = mmap(NULL, sizeof(verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(r.verdict, MAP_FAILED);
    owner_run(&r);
    ck_assert_int_eq(r.verdict->answer, STARTED);
    const census reference = r.verdict->left;
    r.reference = &reference;
    for (r.n = 1; r.n < MOST; r.n++) {
        owner_run(&r);
        if (r.verdict->answer == STARTED)
            break;
    }
    ck_assert_uint_lt(r.n, MOST);
    munmap(r.verdict, sizeof(verdict));
    return r.n - 1;
}

/* shows: START-27 */
START_TEST(with_too_little_a_start_is_an_error_and_the_next_one_works)
{
    const shortage *of = &shortages[_i / 2];
    support_leaks_begin();
    if (!of->possible())
        return;
    for (int kind = FIRST_METHOD; kind < KINDS; kind++) {
        bool warm = _i % 2;
        unsigned refused = sweep(of, kind, warm);
        ck_assert(warm ||
                  refused > 0); /* a later one may need no more, or be begun by a nursery that has it */
    }
    if (group[0])
        ck_assert_int_eq(rmdir(group), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start_limits");
    TCase *limits = support_case(suite, "limits");
    tcase_set_timeout(limits, 60);
    tcase_add_loop_test(limits, with_too_little_a_start_is_an_error_and_the_next_one_works, 0,
                        2 * MPROC__COUNT(shortages));
    return support_run(suite, argc, argv);
}
