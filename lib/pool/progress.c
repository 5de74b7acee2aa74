/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdio.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/progress.h"

enum { INTERVAL_MS = 1000, BAR_CELLS = 30, LINE_BYTES = 200 };
#define SECOND_NS INT64_C(1000000000)

/* ---- when ---- */

void mproc__teller_init(mproc__teller *teller, const mproc_map_options *options)
{
    *teller = (mproc__teller){.fn = options ? options->progress : NULL};
    if (!teller->fn)
        return;
    uint32_t interval_ms = options->progress_ms ? options->progress_ms : INTERVAL_MS;
    teller->context = options->progress_context;
    teller->interval_ns = (int64_t)interval_ms * 1000000;
    teller->begin_ns = mproc__now_ns();
    teller->next_ns = teller->begin_ns + teller->interval_ns;
}

void mproc__teller_tell(mproc__teller *teller, mproc_progress progress)
{
    if (!teller->fn)
        return;
    int64_t now = mproc__now_ns();
    if (now < teller->next_ns && !progress.ended)
        return;
    progress.elapsed_ns = now - teller->begin_ns;
    teller->fn(teller->context, &progress);
    teller->next_ns = mproc__now_ns() + teller->interval_ns;
    if (progress.ended)
        teller->fn = NULL;
}

void mproc__progress_await(mproc_future *map, const mproc_map_options *options)
{
    mproc__teller teller;
    mproc__teller_init(&teller, options);
    while (teller.fn) {
        mproc_progress progress = {.done = 0};
        progress.ended = mproc_future_wait(map, (mproc_deadline){teller.next_ns}) != -ETIMEDOUT;
        (void)mproc_future_progress(map, &progress.done, &progress.total);
        mproc__teller_tell(&teller, progress);
    }
}

/* ---- the bar ---- */

static int time_text(int64_t seconds, char *buffer, size_t size_bytes)
{
    if (seconds >= 3600)
        return snprintf(buffer, size_bytes, "%lld:%02lld:%02lld", (long long)(seconds / 3600),
                        (long long)(seconds / 60 % 60), (long long)(seconds % 60));
    return snprintf(buffer, size_bytes, "%lld:%02lld", (long long)(seconds / 60), (long long)(seconds % 60));
}

/* "  45 %, 450 of 1000, 0:12 left"; of an unknown total, "450, 37/s". */
static void figures_text(const mproc_progress *progress, char *buffer, size_t size_bytes)
{
    char time[32], failed[48] = "";
    double seconds = (double)progress->elapsed_ns / (double)SECOND_NS;
    double rate = seconds > 0 ? (double)progress->done / seconds : 0;
    double left = rate > 0 ? (double)(progress->total - progress->done) / rate : 0;
    time_text((int64_t)(progress->ended ? seconds : left), time, sizeof time);
    if (progress->failed)
        snprintf(failed, sizeof failed, ", %llu failed", (unsigned long long)progress->failed);
    if (progress->total == 0)
        snprintf(buffer, size_bytes, "%llu, %.0f/s%s", (unsigned long long)progress->done, rate, failed);
    else if (rate > 0)
        snprintf(buffer, size_bytes, "%3d %%, %llu of %llu%s, %s %s", /* not rounded up: 100 is the end */
                 (int)(100.0 * (double)progress->done / (double)progress->total),
                 (unsigned long long)progress->done, (unsigned long long)progress->total, failed, time,
                 progress->ended ? "in all" : "left");
    else
        snprintf(buffer, size_bytes, "  0 %%, 0 of %llu%s", (unsigned long long)progress->total, failed);
}

static void bar_text(const mproc_progress *progress, char buffer[BAR_CELLS + 3])
{
    uint64_t filled = progress->total ? BAR_CELLS * progress->done / progress->total : 0;
    buffer[0] = '[';
    for (uint64_t i = 0; i < BAR_CELLS; i++)
        buffer[1 + i] = i < filled ? '#' : ' ';
    buffer[BAR_CELLS + 1] = ']';
    buffer[BAR_CELLS + 2] = 0;
}

/* One write a time, lest lines of several programs mix; a terminal's line is written over, a file gets a line each. */
void mproc_progress_bar(void *label, const mproc_progress *progress)
{
    char line[LINE_BYTES], figures[128], bar[BAR_CELLS + 3];
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (!progress)
        return;
    figures_text(progress, figures, sizeof figures);
    bar_text(progress, bar);
    const char *name = label ? label : "progress";
    if (terminal)
        snprintf(line, sizeof line, "\r%.60s %s %s\x1b[K%s", name, progress->total ? bar : "", figures,
                 progress->ended ? "\n" : "");
    else
        snprintf(line, sizeof line, "%.60s: %s\n", name, figures);
    fputs(line, stderr);
    fflush(stderr);
}
