/* SPDX-License-Identifier: BSD-2-Clause */
/* The watch over this process's own children, taken up again when the nursery that had it was killed.
 *
 * Nobody tells this process of that death, which has no thread to be told: each call that is about children
 * looks, and one that sleeps until a child has ended sleeps on the nursery as well. A program that makes no such
 * call between the nursery's death and its own leaves its children to their leashes (leash.h). Rejected: a
 * second nursery that watches the first (a process and its memory for every program, and two kills in a row
 * still do it); a signal for the nursery's end (the program's dispositions are its own); a parent-death signal
 * in the children (it comes also when a mere thread of the parent ends). */
#include "platform/base.h"

#include <poll.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/family.h"

enum {
    GUARD_CHANCES =
        8, /* nurseries that one wait makes: some die as soon as they are there, as in a full pid cgroup */
    GUARD_LATER_MS = 20,    /* another thread makes one */
    GUARD_REFUSED_MS = 1000 /* the system has no room for one, or it is stopped at once */
};

/* One thread makes it, the others go on: that takes as long as the program needs until mproc_init. One that is stopped on
 * its way is killed, or a call whose child has ended would wait for it. *ret_later_ms: there are still children that have
 * none, and when to try again; 0: there are none, or no use in trying. */
static mproc__nursery *guard_renew(unsigned *ret_later_ms)
{
    mproc__nursery *nursery = NULL;
    mproc_error story;
    mproc__story_copy(mproc__story(), &story);
    int rc = mproc__nursery_try(&nursery);
    if (rc == 0)
        (void)mproc__family_watch(nursery);
    *ret_later_ms = 0;
    if (rc == -EBUSY || (rc == 0 && mproc__family_stray()))
        *ret_later_ms = GUARD_LATER_MS;
    else if (rc < 0 && rc != MPROC_ENOINIT)
        *ret_later_ms = GUARD_REFUSED_MS;
    mproc__story_copy(&story, mproc__story()); /* the call that looked has its own result */
    return nursery;
}

static mproc__nursery *guard(unsigned *ret_later_ms)
{
    mproc__nursery *nursery = mproc__nursery_present();
    bool lives = nursery && !mproc__nursery_gone(nursery);
    *ret_later_ms = 0;
    if (lives && !mproc__family_stray())
        return nursery;
    bool unwatched = mproc__family_unwatched();
    if (lives && !unwatched)
        return nursery;
    mproc__nursery_release(nursery);
    return unwatched ? guard_renew(ret_later_ms) : NULL;
}

mproc__nursery *mproc__guard(void)
{
    unsigned later_ms;
    return guard(&later_ms);
}

void mproc__guard_look(void)
{
    mproc__nursery_release(mproc__guard());
}

void mproc__guard_renew(void)
{
    unsigned later_ms;
    mproc__nursery_release(guard_renew(&later_ms));
}

int mproc__guard_wait(int pidfd, mproc_deadline deadline)
{
    for (int chances = GUARD_CHANCES;;) {
        unsigned later_ms = 0;
        mproc__nursery *watcher = chances > 0 ? guard(&later_ms) : NULL;
        mproc_deadline look = mproc_after_ms(later_ms);
        if (later_ms == 0 || deadline.ns < look.ns)
            look = deadline;
        struct pollfd items[2] = {{.fd = pidfd, .events = POLLIN},
                                  {.fd = watcher ? watcher->pidfd : -1, .events = POLLIN}};
        int count = poll(items, 2, mproc__deadline_poll_ms(look)), error = errno;
        mproc__nursery_release(watcher);
        if (count < 0 && error != EINTR)
            return mproc__fail(-error, "poll: %s", mproc_strerror(-error));
        if (count > 0 && items[0].revents)
            return items[0].revents & POLLNVAL ? mproc__fail(-EBADF, "descriptor %d is not open", pidfd) : 0;
        if (count > 0)
            chances--;
        else if (mproc__deadline_past(deadline))
            return mproc__fail_plain(-ETIMEDOUT);
    }
}
