/* SPDX-License-Identifier: BSD-2-Clause */
/* The one file that knows all layers: start-up of the library. */
#include "platform/base.h"

#include <pthread.h>

#include <mproc/shm.h>
#include "channel/connection.h"
#include "channel/queue.h"
#include "manager/proxy.h"
#include "platform/story.h"
#include "process/launch.h"
#include "shm/explain.h"
#include "sync/nouns.h"

static void all_register(void)
{
    mproc__nouns_register();
    mproc__noun_register(&mproc__queue_noun);
    mproc__explain_register(MPROC_TYPE_POOL, "pool", 0, NULL);
    mproc__explain_register(MPROC_TYPE_PROCESS, "nursery of processes", 0, NULL);
    mproc__connection_register();
    mproc__manager_register();
}

/* Also for programs that never call mproc_init. */
static void library_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, all_register);
}

int mproc_init(int *argc, char ***argv)
{
    /* First, because a spawned child unpacks its arguments in the process layer and never comes back. */
    library_start();
    int rc = argc || argv ? mproc__process_main(argc, argv) : 0;
    /* Names that killed programs left. A directory that cannot be read is no reason not to start. */
    if (rc == 0)
        (void)mproc_cleanup(NULL);
    return rc;
}

int mproc_explain_for(FILE *stream, const mproc_explain_options *options, mproc_variant *ret_dict)
{
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_explain_options");
    if (code == 0 && !stream)
        code = mproc__fail(-EINVAL, "nowhere to write to");
    if (code == 0 && options &&
        ((options->pid_count && !options->pids) || (options->name_count && !options->names)))
        code = mproc__fail(-EINVAL, "a list of processes or names is missing");
    for (size_t i = 0; code == 0 && options && i < options->name_count; i++)
        if (!options->names[i])
            code = mproc__fail(-EINVAL, "name %zu is missing", i);
    if (code < 0)
        return code;
    library_start();
    return mproc__explain(stream, options, ret_dict);
}

int mproc_explain(FILE *stream)
{
    return mproc_explain_for(stream, NULL, NULL);
}
