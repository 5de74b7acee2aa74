/* SPDX-License-Identifier: BSD-2-Clause */
/* One object of explain, printed. Every number may come from a damaged segment. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "shm/explain_inside.h"

enum { OPEN_IN_MAX = 32 /* processes named in a line */ };

static void size_print(mproc__explaining *explaining)
{
    static const char units[] = "KMGT";
    double size = (double)explaining->snapshot.file_bytes / 1024;
    unsigned unit = 0;
    for (; size >= 1024 && unit + 1 < sizeof(units) - 1; unit++)
        size /= 1024;
    fprintf(explaining->stream, size < 10 && unit > 0 ? "%.1f %ciB" : "%.0f %ciB", size, units[unit]);
}

/* `sight` is the first of its kind's order: the file in /dev/shm when there is one. */
static void where_print(mproc__explaining *explaining, const mproc__sight *sight)
{
    char name[MPROC__LABEL_BYTES];
    if (sight->kind == MPROC__SIGHT_FILE) {
        snprintf(name, sizeof(name), "%s", sight->name);
        mproc__report_clean(name);
        fprintf(explaining->stream, " in /dev/shm/%s\n", name);
    } else if (strncmp(sight->name, "/dev/shm/", 9) == 0) {
        fprintf(explaining->stream, " of %s\n", sight->name);
    } else {
        fputs(" of anonymous memory\n", explaining->stream);
    }
}

static void line_begin(mproc__explaining *explaining, const char *what)
{
    fprintf(explaining->stream, "      %-9s ", what);
}

/* ---- participants ---- */

static void row_print(mproc__explaining *explaining, const mproc__row_seen *row)
{
    mproc__process_view view;
    const char *text = "ended just now";
    bool seen = mproc__explain_view(explaining, row->pid, &view) &&
                (row->start_ticks == 0 || row->start_ticks == view.start_ticks);
    bool dead = row->state == MPROC__ROW_DEAD || (row->state == MPROC__ROW_HANDED_BACK && !seen);
    line_begin(explaining, "used by");
    if (seen) {
        mproc__explain_name(explaining, row->pid);
        mproc__explain_state(explaining, &view, &text);
    } else {
        fprintf(explaining->stream, "%d", (int)row->pid);
    }
    explaining->counts.dead += dead;
    if (dead)
        text = "dead, and nobody has swept up after it yet";
    else if (row->state == MPROC__ROW_UNCLEAR)
        text = "coming or going, or damaged";
    fprintf(explaining->stream, ", %s%s\n", text,
            !dead && row->state == MPROC__ROW_HANDED_BACK ? "; the thread that joined has ended" : "");
}

static bool has_row(const mproc__explaining *explaining, pid_t pid)
{
    for (unsigned index = 0; index < MPROC__ROWS; index++) {
        mproc__row_seen row = mproc__snapshot_row(&explaining->snapshot, index);
        if (row.state != MPROC__ROW_FREE && row.pid == pid)
            return true;
    }
    return false;
}

/* Those that have it, but left nothing in it yet. Sights of a process lie apart: descriptors, then mappings. */
static void open_in_print(mproc__explaining *explaining, size_t sight, size_t same, bool read)
{
    const mproc__sight *sights = &explaining->sights.items[sight];
    unsigned count = 0;
    for (size_t i = 0; i < same; i++) {
        bool again = sights[i].pid == 0 || (read && has_row(explaining, sights[i].pid));
        for (size_t before = 0; !again && before < i; before++)
            again = sights[before].pid == sights[i].pid;
        if (again)
            continue;
        if (++count > OPEN_IN_MAX)
            continue;
        if (count == 1)
            line_begin(explaining, "open in");
        else
            fputs(", ", explaining->stream);
        mproc__explain_name(explaining, sights[i].pid);
    }
    if (count > OPEN_IN_MAX)
        fprintf(explaining->stream, " and %u more", count - OPEN_IN_MAX);
    if (count)
        fputc('\n', explaining->stream);
}

static void rows_print(mproc__explaining *explaining)
{
    for (unsigned index = 0; index < MPROC__ROWS; index++) {
        mproc__row_seen row = mproc__snapshot_row(&explaining->snapshot, index);
        if (row.state == MPROC__ROW_FREE)
            continue;
        explaining->counts.participants++;
        row_print(explaining, &row);
    }
}

/* ---- what the noun says ---- */

static void state_print(mproc__explaining *explaining)
{
    char *rest = explaining->report.state;
    for (char *line; rest && *rest;) {
        line = strsep(&rest, "\n");
        line_begin(explaining, "state");
        fprintf(explaining->stream, "%s\n", line);
    }
}

static void holder_print(mproc__explaining *explaining, const mproc__report_entry *holder)
{
    mproc__process_view view;
    const char *text = "ended";
    pid_t number = holder->tid ? holder->tid : holder->pid;
    bool seen = mproc__explain_view(explaining, number, &view);
    pid_t pid = holder->pid || !seen ? holder->pid : view.pid;
    if (seen && mproc__explain_state(explaining, &view, &text))
        explaining->counts.stopped++;
    line_begin(explaining, "held by");
    if (pid)
        mproc__explain_name(explaining, pid);
    else
        fputs("an unknown process", explaining->stream);
    if (holder->tid)
        fprintf(explaining->stream, ", thread %d", (int)holder->tid);
    fprintf(explaining->stream, ", %s, %s\n", holder->as, number ? text : "of whom nothing is known");
}

static void holders_print(mproc__explaining *explaining)
{
    const mproc__report *report = &explaining->report;
    unsigned told = mproc__report_told(report);
    for (unsigned i = 0; i < told; i++)
        holder_print(explaining, &report->holders[i]);
    if (report->holder_count > told) {
        line_begin(explaining, "held by");
        fprintf(explaining->stream, "%u more\n", report->holder_count - told);
    }
}

/* ---- waiters ---- */

static const char *wait_text(mproc__wait_kind kind)
{
    switch (kind) {
    case MPROC__WAIT_ACQUIRE:
        return "to acquire";
    case MPROC__WAIT_READ:
        return "to read";
    case MPROC__WAIT_NOTIFY:
        return "to be notified";
    case MPROC__WAIT_SET:
        return "for it to be set";
    case MPROC__WAIT_PARTIES:
        return "for the other parties";
    case MPROC__WAIT_ITEM:
        return "for an item";
    case MPROC__WAIT_ROOM:
        return "for room";
    case MPROC__WAIT_DONE:
        return "for all to be done";
    case MPROC__WAIT_RESULT:
        return "for a result";
    }
    return "";
}

static void waiters_print(mproc__explaining *explaining)
{
    for (unsigned slot = 0; slot < MPROC__WAITERS; slot++) {
        mproc__process_view view;
        const char *text;
        mproc__waiter_seen seen = mproc__snapshot_waiter(&explaining->snapshot, slot);
        if (!mproc__explain_waits(explaining, &seen, &view))
            continue;
        explaining->counts.waiting++;
        bool still = mproc__explain_state(explaining, &view, &text);
        line_begin(explaining, "waiting");
        mproc__explain_name(explaining, view.pid);
        fprintf(explaining->stream, ", thread %d, %s, %.1f s%s%s\n", (int)seen.tid, wait_text(seen.kind),
                mproc__explain_seconds(seen.since_ns), still ? ", " : "", still ? text : "");
    }
}

/* ---- all of one object ---- */

static const char *unread_text(mproc__judgement judgement)
{
    switch (judgement) {
    case MPROC__IS_STRANGE:
        return "of another pid or time namespace: the numbers in it mean nothing here";
    case MPROC__IS_OTHER:
        return "of another build of libmproc";
    case MPROC__IS_DAMAGED:
        return "damaged: its sizes cannot be true";
    case MPROC__IS_FOREIGN:
        return "damaged: it does not begin as one of libmproc";
    case MPROC__IS_UNMADE:
        return "empty: being made, or its maker died";
    case MPROC__IS_CLOSED:
        return "this user may not read it";
    default:
        return "";
    }
}

void mproc__object_print(mproc__explaining *explaining, size_t sight, size_t same, const char *title)
{
    fprintf(explaining->stream, "[%u] %s, ", explaining->counts.objects, title);
    size_print(explaining);
    where_print(explaining, &explaining->sights.items[sight]);
    rows_print(explaining);
    open_in_print(explaining, sight, same, true);
    state_print(explaining);
    holders_print(explaining);
    waiters_print(explaining);
}

void mproc__unread_print(mproc__explaining *explaining, size_t sight, size_t same, mproc__judgement judgement)
{
    char name[MPROC__LABEL_BYTES];
    snprintf(name, sizeof(name), "%s", explaining->sights.items[sight].name);
    mproc__report_clean(name); /* anybody may give a file any name */
    explaining->counts.damaged += judgement == MPROC__IS_DAMAGED || judgement == MPROC__IS_FOREIGN;
    fprintf(explaining->stream, "[%u] \"%s\"\n", explaining->counts.objects, name);
    line_begin(explaining, "state");
    fprintf(explaining->stream, "%s\n", unread_text(judgement));
    open_in_print(explaining, sight, same, false);
}
