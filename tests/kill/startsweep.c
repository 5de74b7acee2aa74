/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep of starts, and of pools: scenes, processes, marks. See start_round.h. */
#include "platform/base.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kill/start_round.h"
#include "process/launch.h"

enum { LIVE_MS = 250, PEOPLE_MOST = 8, FAILURES_SHOWN = 20, SHORT_EVERY = 41, TRIES = 4 };

typedef struct counts {
    unsigned states, kills, failures;
    int longest_ms;
} counts;

static struct {
    const char *scene;
    int followed, killed, mark; /* -1: all */
    unsigned every, random, seed;
    bool at_once, calls;
    int live_ms;
} asked = {.followed = -1, .killed = -1, .mark = -1, .every = 1, .seed = 1, .live_ms = LIVE_MS};

static counts all;

static const char *name_of(int who)
{
    return who == KILL_YOUNGEST ? "child" : who == KILL_NOBODY ? "nobody" : start_names[who];
}

static void failure_print(const start_round *round, unsigned mark)
{
    if (all.failures < FAILURES_SHOWN)
        printf("# %s: %s at mark %u (call %u, change %u), %s killed: %s\n"
               "#   %s --scene '%s' --followed %d --killed %d --mark %u%s%s\n",
               round->scene->name, name_of(round->followed), mark, round->mark.calls, round->mark.changes,
               round->killed < 0 ? "nobody" : name_of(round->killed), round->failure, start_program,
               round->scene->name, round->followed, round->killed, mark, round->at_once ? " --at-once" : "",
               asked.calls ? " --calls" : "");
}

/* All marks of one process, one killed. */
static void sweep_marks(const start_scene *scene, int followed, int killed, const start_mark *marks,
                        unsigned count)
{
    static unsigned pairs; /* a sample begins elsewhere in each */
    counts sum = {.states = count};
    unsigned first = pairs++ * 7 % asked.every % count;
    for (unsigned i = asked.mark >= 0 ? (unsigned)asked.mark : first; i < count; i += asked.every) {
        start_round round = {.scene = scene,
                             .followed = followed,
                             .killed = killed,
                             .mark = marks[i],
                             .at_once = asked.at_once,
                             .live_ms = asked.live_ms};
        for (unsigned tries = 0; !round.reached && !round.failure[0] && tries < TRIES; tries++)
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

/* Not the same one twice. Where threads start, numbers are mixed, and the other scenes have killed nursery and child. */
static bool is_wanted(const start_scene *scene, int followed, const int *killed, unsigned i)
{
    if (scene->window == WINDOW_THREAD)
        return i > 0 && (killed[i] == 0 || killed[i] == KILL_NOBODY);
    return killed[i] != KILL_NOBODY && !(i > 0 && killed[i] == followed) &&
           !(killed[i] == KILL_YOUNGEST && followed > 1);
}

static void sweep_followed(const start_scene *scene, int followed)
{
    static start_mark marks[START_MARKS];
    const int killed[] = {followed, 0, 1, KILL_YOUNGEST, KILL_NOBODY};
    start_round round = {
        .scene = scene, .followed = followed, .killed = TREE_NOBODY, .calls_only = asked.calls};
    int count = start_round_count(&round, marks);
    if (count < 0) {
        failure_print(&round, 0);
        all.failures++;
    }
    for (unsigned i = 0; count > 0 && i < MPROC__COUNT(killed); i++)
        if (asked.killed == -1 ? is_wanted(scene, followed, killed, i) : asked.killed == killed[i])
            sweep_marks(scene, followed, killed[i], marks, (unsigned)count);
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
        {"random", required_argument, NULL, 'r'},  {"seed", required_argument, NULL, 'd'},
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
        case 'r':
            asked.random = (unsigned)number(optarg);
            break;
        case 'd':
            asked.seed = (unsigned)number(optarg);
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
    if (asked.random)
        return start_random(asked.random, asked.seed, asked.live_ms) > 0;
    printf("# every %u. of the states%s\n", asked.every, asked.calls ? " at system calls" : "");
    unsigned swept = 0;
    for (const start_scene *scene = start_scenes; scene->name; scene++) {
        if (asked.scene && strcmp(asked.scene, scene->name) != 0)
            continue;
        swept++;
        for (int followed = 0; followed < PEOPLE_MOST; followed++)
            if (asked.followed < 0 || asked.followed == followed)
                sweep_followed(scene, followed);
    }
    printf("all\t\t\t%u\t%u\t%u\t%d\n", all.states, all.kills, all.failures, all.longest_ms);
    return all.failures || !swept ? 1 : 0;
}
