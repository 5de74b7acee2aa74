/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep of starts: scenes, processes, marks. See start_round.h. */
#include "platform/base.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kill/start_round.h"
#include "process/launch.h"

enum { LIVE_MS = 250, PEOPLE_MOST = 8, FAILURES_SHOWN = 20, SHORT_EVERY = 23 };

static const start_scene scenes[] = {
    {"fork, first", MPROC_START_FORK, false, WINDOW_START},
    {"fork", MPROC_START_FORK, true, WINDOW_START},
    {"spawn, first", MPROC_START_SPAWN, false, WINDOW_START},
    {"spawn", MPROC_START_SPAWN, true, WINDOW_START},
    {"forkserver, first", MPROC_START_FORKSERVER, false, WINDOW_START},
    {"forkserver", MPROC_START_FORKSERVER, true, WINDOW_START},
    {"program, first", START_PROGRAM, false, WINDOW_START},
    {"program", START_PROGRAM, true, WINDOW_START},
    {"fork, join", MPROC_START_FORK, true, WINDOW_JOIN},
    {"spawn, join", MPROC_START_SPAWN, true, WINDOW_JOIN},
    {"forkserver, join", MPROC_START_FORKSERVER, true, WINDOW_JOIN},
    {"program, join", START_PROGRAM, true, WINDOW_JOIN},
    {"fork, exit", MPROC_START_FORK, true, WINDOW_EXIT},
    {"spawn, exit", MPROC_START_SPAWN, true, WINDOW_EXIT},
    {"forkserver, exit", MPROC_START_FORKSERVER, true, WINDOW_EXIT},
};

typedef struct counts {
    unsigned states, kills, failures;
    int longest_ms;
} counts;

static struct {
    const char *scene;
    int followed, killed, mark; /* -1: all */
    unsigned every;
    bool at_once, calls;
    int live_ms;
} asked = {.followed = -1, .killed = -1, .mark = -1, .every = 1, .live_ms = LIVE_MS};

static counts all;

static const char *name_of(int who)
{
    static const char *const names[] = {"parent",  "nursery", "child 2", "child 3",
                                        "child 4", "child 5", "child 6", "child 7"};
    return who == START_YOUNGEST ? "youngest" : names[who];
}

static void failure_print(const start_round *round, unsigned mark)
{
    if (all.failures < FAILURES_SHOWN)
        printf("# %s: %s at mark %u (call %u, change %u), %s killed: %s\n"
               "#   startsweep --scene '%s' --followed %d --killed %d --mark %u%s%s\n",
               round->scene->name, name_of(round->followed), mark, round->mark.calls, round->mark.changes,
               round->killed < 0 ? "nobody" : name_of(round->killed), round->failure, round->scene->name,
               round->followed, round->killed, mark, round->at_once ? " --at-once" : "",
               asked.calls ? " --calls" : "");
}

/* All marks of one process, one killed. */
static void sweep_marks(const start_scene *scene, int followed, int killed, const start_mark *marks,
                        unsigned count)
{
    counts sum = {.states = count};
    for (unsigned i = asked.mark >= 0 ? (unsigned)asked.mark : 0; i < count; i += asked.every) {
        start_round round = {.scene = scene,
                             .followed = followed,
                             .killed = killed,
                             .mark = marks[i],
                             .at_once = asked.at_once,
                             .live_ms = asked.live_ms};
        start_round_run(&round);
        sum.kills += round.done;
        if (round.gone_ms > sum.longest_ms)
            sum.longest_ms = round.gone_ms;
        if (round.failure[0]) {
            failure_print(&round, i);
            sum.failures++;
            all.failures++;
        }
        if (asked.mark >= 0)
            break;
    }
    all.states += sum.states;
    all.kills += sum.kills;
    if (sum.longest_ms > all.longest_ms)
        all.longest_ms = sum.longest_ms;
    if (sum.kills || sum.failures)
        printf("%s\t%s\t%s\t%u\t%u\t%u\t%d\n", scene->name, name_of(followed), name_of(killed), sum.states,
               sum.kills, sum.failures, sum.longest_ms);
    fflush(stdout);
}

static void sweep_followed(const start_scene *scene, int followed)
{
    static start_mark marks[START_MARKS];
    const int killed[] = {followed, 0, 1, START_YOUNGEST};
    start_round round = {
        .scene = scene, .followed = followed, .killed = TREE_NOBODY, .calls_only = asked.calls};
    int count = start_round_count(&round, marks);
    if (count < 0) {
        failure_print(&round, 0);
        all.failures++;
    }
    for (unsigned i = 0; count > 0 && i < MPROC__COUNT(killed); i++) {
        bool twice = (i > 0 && killed[i] == followed) || (killed[i] == START_YOUNGEST && followed > 1);
        if (!twice && (asked.killed == -1 || asked.killed == killed[i]))
            sweep_marks(scene, followed, killed[i], marks, (unsigned)count);
    }
}

static int number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

static bool options_read(int argc, char **argv)
{
    static const struct option names[] = {
        {"scene", required_argument, NULL, 's'},   {"followed", required_argument, NULL, 'f'},
        {"killed", required_argument, NULL, 'k'},  {"mark", required_argument, NULL, 'm'},
        {"every", required_argument, NULL, 'e'},   {"at-once", no_argument, NULL, 'a'},
        {"calls", no_argument, NULL, 'c'},         {"short", no_argument, NULL, 'S'},
        {"live-ms", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0},
    };
    for (int letter; (letter = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (letter) {
        case 's':
            asked.scene = optarg;
            break;
        case 'f':
            asked.followed = number(optarg);
            break;
        case 'k':
            asked.killed = number(optarg);
            break;
        case 'm':
            asked.mark = number(optarg);
            break;
        case 'e':
            asked.every = (unsigned)number(optarg);
            break;
        case 'a':
            asked.at_once = true;
            break;
        case 'c':
            asked.calls = true;
            break;
        case 'S':
            asked.calls = true;
            asked.every = SHORT_EVERY;
            break;
        case 'l':
            asked.live_ms = number(optarg);
            break;
        default:
            return false;
        }
    return optind == argc && asked.every > 0;
}

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    if (!options_read(argc, argv) || start_round_prepare() < 0) {
        fprintf(stderr, "startsweep: start_round.h has the arguments\n");
        return 1;
    }
    printf("# every %u. of the states%s\n", asked.every, asked.calls ? " at system calls" : "");
    unsigned swept = 0;
    for (size_t i = 0; i < MPROC__COUNT(scenes); i++) {
        if (asked.scene && strcmp(asked.scene, scenes[i].name) != 0)
            continue;
        swept++;
        for (int followed = 0; followed < PEOPLE_MOST; followed++)
            if (asked.followed < 0 || asked.followed == followed)
                sweep_followed(&scenes[i], followed);
    }
    printf("all\t\t\t%u\t%u\t%u\t%d\n", all.states, all.kills, all.failures, all.longest_ms);
    return all.failures || !swept ? 1 : 0;
}
