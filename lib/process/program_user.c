/* SPDX-License-Identifier: BSD-2-Clause */
/* A program's user and groups: the caller's of the moment, or those of the options.
 *
 * Also the caller's have to be put on: one that has given up root since the nursery was made would be surprised to find its
 * programs running as root. A named user comes with the user's own groups; to keep root's beside another user's id is the
 * classic mistake. */
#include "platform/base.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/program_surroundings.h"

enum { ENTRY_BYTES = 16384 }; /* of a user's or a group's line; getpw*_r says ERANGE beyond */

/* A number, or false: a name. */
static bool number_of(const char *text, uint32_t *ret_number)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || number >= UINT32_MAX)
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static void ids_set(uint32_t ids[3], uint32_t id)
{
    ids[0] = ids[1] = ids[2] = id;
}

static int groups_of(const char *name, uint32_t group, mproc__program_user *of)
{
    gid_t groups[MPROC__PROGRAM_GROUPS];
    int count = MPROC__PROGRAM_GROUPS;
    if (getgrouplist(name, group, groups, &count) < 0)
        return mproc__fail(MPROC_ELIMIT, "start_program: user %s is in %d groups, %d are the most", name,
                           count, MPROC__PROGRAM_GROUPS);
    of->group_count = (uint32_t)count;
    for (int i = 0; i < count; i++)
        of->groups[i] = groups[i];
    return 0;
}

static int user_named(const char *user, mproc__program_user *of)
{
    struct passwd entry, *found = NULL;
    char buffer[ENTRY_BYTES];
    uint32_t number;
    bool is_number = number_of(user, &number);
    int error = is_number ? getpwuid_r(number, &entry, buffer, sizeof buffer, &found)
                          : getpwnam_r(user, &entry, buffer, sizeof buffer, &found);
    if (!found && !is_number)
        return mproc__fail(error ? -error : -ENOENT, "start_program: no user '%s'", user);
    if (found) {
        ids_set(of->uids, entry.pw_uid);
        ids_set(of->gids, entry.pw_gid);
        return groups_of(entry.pw_name, entry.pw_gid, of);
    }
    ids_set(of->uids, number); /* in no list: a group of the same number, and no other */
    ids_set(of->gids, number);
    of->groups[0] = number;
    of->group_count = 1;
    return 0;
}

static int group_named(const char *group, mproc__program_user *of)
{
    struct group entry, *found = NULL;
    char buffer[ENTRY_BYTES];
    uint32_t number = 0;
    int error = 0;
    if (!number_of(group, &number)) {
        error = getgrnam_r(group, &entry, buffer, sizeof buffer, &found);
        if (!found)
            return mproc__fail(error ? -error : -ENOENT, "start_program: no group '%s'", group);
        number = entry.gr_gid;
    }
    ids_set(of->gids, number);
    return 0;
}

static int user_of_caller(mproc__program_user *of)
{
    gid_t groups[MPROC__PROGRAM_GROUPS];
    getresuid(&of->uids[0], &of->uids[1], &of->uids[2]);
    getresgid(&of->gids[0], &of->gids[1], &of->gids[2]);
    int count = getgroups(MPROC__PROGRAM_GROUPS, groups);
    if (count < 0)
        return mproc__fail(MPROC_ELIMIT, "start_program: more than %d groups", MPROC__PROGRAM_GROUPS);
    of->group_count = (uint32_t)count;
    for (int i = 0; i < count; i++)
        of->groups[i] = groups[i];
    return 0;
}

int mproc__program_user_take(const mproc_program_options *options, mproc__program_surroundings *surroundings)
{
    int rc = user_of_caller(&surroundings->caller);
    surroundings->user = surroundings->caller;
    surroundings->user_named = options && (options->user || options->user_group);
    if (rc == 0 && options && options->user)
        rc = user_named(options->user, &surroundings->user);
    if (rc == 0 && options && options->user_group)
        rc = group_named(options->user_group, &surroundings->user);
    return rc;
}

/* ---- in the child: the kernel's calls, as libc's would speak to threads that are not this process's ---- */

static bool groups_same(const mproc__program_user *of)
{
    gid_t groups[MPROC__PROGRAM_GROUPS];
    int count = getgroups(MPROC__PROGRAM_GROUPS, groups);
    return count == (int)of->group_count && memcmp(groups, of->groups, (size_t)count * sizeof groups[0]) == 0;
}

bool mproc__program_user_put(const mproc__program_user *of)
{
    uint32_t now[3];
    _Static_assert(sizeof(gid_t) == sizeof(uint32_t) && sizeof(uid_t) == sizeof(uint32_t),
                   "as the kernel has them");
    if (!groups_same(of) && syscall(SYS_setgroups, (size_t)of->group_count, of->groups) < 0)
        return false;
    getresgid(&now[0], &now[1], &now[2]);
    if (memcmp(now, of->gids, sizeof now) != 0 &&
        syscall(SYS_setresgid, of->gids[0], of->gids[1], of->gids[2]) < 0)
        return false;
    getresuid(&now[0], &now[1], &now[2]);
    return memcmp(now, of->uids, sizeof now) == 0 ||
           syscall(SYS_setresuid, of->uids[0], of->uids[1], of->uids[2]) == 0;
}
