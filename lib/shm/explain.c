/* SPDX-License-Identifier: BSD-2-Clause */
/* Explain: object after object, printed as it is found, then the cycles and a sum. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/explain_inside.h"
#include "shm/noun.h"

enum { KINDS = 64 };

/* ---- kinds that are no nouns ---- */

static struct {
    const char *word;
    size_t least_bytes;
    mproc__explain_fn *fn;
} others[KINDS];

void mproc__explain_register(mproc_type_id kind, const char *word, size_t least_bytes, mproc__explain_fn *fn)
{
    others[kind].word = word;
    others[kind].least_bytes = least_bytes;
    others[kind].fn = fn;
}

static const char *kind_word(uint32_t kind)
{
    const mproc__noun *noun = mproc__noun_of(kind);
    if (noun)
        return noun->word;
    return kind < KINDS && others[kind].word ? others[kind].word : "object of an unknown kind";
}

static void noun_explain(mproc__explaining *explaining)
{
    const mproc__snapshot *snapshot = &explaining->snapshot;
    uint32_t kind = snapshot->header.kind;
    const mproc__noun *noun = mproc__noun_of(kind);
    size_t least = noun ? noun->least_bytes : kind < KINDS ? others[kind].least_bytes : 0;
    mproc__explain_fn *fn = noun ? noun->explain : kind < KINDS ? others[kind].fn : NULL;
    if (snapshot->root_bytes < least)
        mproc__report_state(&explaining->report, "damaged: its memory is too small");
    else if (fn)
        fn(snapshot->root, snapshot->root_bytes, &explaining->report);
}

/* ---- one object ---- */

mproc__judgement mproc__explain_read(mproc__explaining *explaining, size_t sight)
{
    size_t same = mproc__sights_same(&explaining->sights, sight);
    int fd = -ESTALE;
    for (size_t i = 0; fd < 0 && i < same; i++)
        fd = mproc__sight_open(&explaining->sights.items[sight + i]);
    mproc__report_clear(&explaining->report);
    if (fd < 0)
        return fd == -EACCES || fd == -EPERM ? MPROC__IS_CLOSED : MPROC__IS_GONE;
    mproc__judgement judgement = mproc__snapshot_read(fd, &explaining->snapshot);
    close(fd);
    if (judgement == MPROC__IS_SEGMENT)
        noun_explain(explaining);
    return judgement;
}

static bool wanted_pid(const mproc__explaining *explaining, pid_t pid)
{
    const mproc_explain_options *options = explaining->options;
    for (size_t i = 0; pid > 0 && i < options->pid_count; i++)
        if (options->pids[i] == pid)
            return true;
    return false;
}

static bool wanted_name(const mproc__explaining *explaining, const char *name)
{
    const mproc_explain_options *options = explaining->options;
    for (size_t i = 0; i < options->name_count; i++)
        if (strcmp(options->names[i], name) == 0)
            return true;
    return false;
}

/* "/jobs": the file's own name, whatever the object is called. */
static bool wanted_file(const mproc__explaining *explaining, const char *file)
{
    const mproc_explain_options *options = explaining->options;
    for (size_t i = 0; i < options->name_count; i++)
        if (options->names[i][0] == '/' && strcmp(options->names[i] + 1, file) == 0)
            return true;
    return false;
}

static bool wanted_sight(const mproc__explaining *explaining, const mproc__sight *sight)
{
    return wanted_pid(explaining, sight->pid) ||
           (sight->kind == MPROC__SIGHT_FILE && wanted_file(explaining, sight->name));
}

/* The snapshot is of a segment, or of nothing (all zeros). */
static bool object_wanted(const mproc__explaining *explaining, size_t sight, size_t same, bool read)
{
    const mproc_explain_options *options = explaining->options;
    if (!options || options->pid_count + options->name_count == 0)
        return true;
    for (size_t i = 0; i < same; i++)
        if (wanted_sight(explaining, &explaining->sights.items[sight + i]))
            return true;
    if (!read)
        return false;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        if (wanted_pid(explaining, mproc__snapshot_row(&explaining->snapshot, row).pid))
            return true;
    const char *label = explaining->snapshot.header.label;
    bool named = explaining->snapshot.header.flags & MPROC__FLAG_NAMED;
    const char *behind = named ? strchr(label, '%') : NULL; /* behind its group */
    return wanted_name(explaining, label) || (behind && wanted_name(explaining, behind + 1));
}

/* A file in /dev/shm that does not say it is ours is not; nor is one that is being made there. */
static bool object_exists(const mproc__sight *sight, mproc__judgement judgement)
{
    bool of_ours = strncmp(sight->name, "/memfd:", 7) == 0;
    if (judgement == MPROC__IS_GONE)
        return false;
    return of_ours ||
           (judgement != MPROC__IS_FOREIGN && judgement != MPROC__IS_UNMADE && judgement != MPROC__IS_CLOSED);
}

static int object_explain(mproc__explaining *explaining, size_t sight, size_t same)
{
    char title[MPROC__TITLE_BYTES];
    mproc__judgement judgement = mproc__explain_read(explaining, sight);
    bool read = judgement == MPROC__IS_SEGMENT;
    if (!object_exists(&explaining->sights.items[sight], judgement))
        return 0;
    bool wanted = object_wanted(explaining, sight, same, read);
    explaining->counts.objects += wanted;
    if (wanted && !read)
        mproc__unread_print(explaining, sight, same, judgement);
    if (!read)
        return 0;
    mproc__header_shared *header = &explaining->snapshot.header;
    mproc__report_clean(header->label);
    snprintf(title, sizeof(title), header->label[0] ? "%s \"%s\"" : "%s without a name",
             kind_word(header->kind), header->label);
    if (wanted) {
        explaining->counts.damaged += strstr(explaining->report.state, "damaged") != NULL;
        mproc__object_print(explaining, sight, same, title);
    }
    return mproc__graph_add(explaining, sight, wanted ? explaining->counts.objects : 0, title);
}

/* ---- all ---- */

static void sum_print(mproc__explaining *explaining)
{
    const mproc__explain_counts *counts = &explaining->counts;
    fprintf(explaining->stream, "objects: %u; participants: %u; waiting threads: %u\n", counts->objects,
            counts->participants, counts->waiting);
    fprintf(explaining->stream,
            "wait cycles: %u; holders that stand still: %u; dead, not swept: %u; damaged: %u\n",
            counts->cycles, counts->stopped, counts->dead, counts->damaged);
    if (explaining->sights.hidden)
        fprintf(explaining->stream, "processes that this user may not look into: %u\n",
                explaining->sights.hidden);
}

static int dict_fill(const mproc__explaining *explaining, mproc_variant *dict)
{
    const mproc__explain_counts *counts = &explaining->counts;
    const struct {
        const char *key;
        unsigned value;
    } entries[] = {
        {"objects", counts->objects}, {"participants", counts->participants}, {"waiting", counts->waiting},
        {"cycles", counts->cycles},   {"stopped", counts->stopped},           {"dead", counts->dead},
        {"damaged", counts->damaged}, {"hidden", explaining->sights.hidden},
    };
    int code = 0;
    for (size_t i = 0; code == 0 && i < MPROC__COUNT(entries); i++)
        code = mproc_variant_set(dict, entries[i].key, mproc_int(entries[i].value));
    return code;
}

static int objects_explain(mproc__explaining *explaining)
{
    int code = mproc__seek(&explaining->sights);
    size_t same = 0;
    for (size_t sight = 0; code == 0 && sight < explaining->sights.count; sight += same) {
        same = mproc__sights_same(&explaining->sights, sight);
        code = object_explain(explaining, sight, same);
    }
    if (code == 0)
        code = mproc__graph_cycles(explaining);
    if (code == 0)
        sum_print(explaining);
    return code;
}

static int stream_end(FILE *stream)
{
    return fflush(stream) == 0 && !ferror(stream) ? 0 : mproc__fail(-EIO, "the stream did not take all");
}

static int processes_check(const mproc_explain_options *options)
{
    for (size_t i = 0; options && i < options->pid_count; i++)
        if (options->pids[i] <= 0 || (kill(options->pids[i], 0) < 0 && errno == ESRCH))
            return mproc__fail(-ESRCH, "there is no process %d", options->pids[i]);
    return 0;
}

int mproc__explain(FILE *stream, const mproc_explain_options *options, mproc_variant *ret_dict)
{
    int code = processes_check(options);
    if (code < 0)
        return code;
    mproc__explaining *explaining =
        aligned_alloc(MPROC__LINE, mproc__round_up(sizeof(*explaining), MPROC__LINE));
    if (!explaining)
        return mproc__fail(-ENOMEM, "no memory to look at segments");
    memset(explaining, 0, sizeof(*explaining));
    explaining->stream = stream;
    explaining->options = options;
    mproc_variant dict = mproc_null();
    code = objects_explain(explaining);
    if (code == 0)
        code = stream_end(stream);
    if (code == 0 && ret_dict)
        code = dict_fill(explaining, &dict);
    if (code == 0 && ret_dict)
        *ret_dict = dict;
    else
        mproc_variant_clear(&dict);
    mproc__graph_free(&explaining->graph);
    mproc__sights_free(&explaining->sights);
    free(explaining);
    return code;
}
