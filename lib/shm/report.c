/* SPDX-License-Identifier: BSD-2-Clause */
/* The report: what a noun says of one object. Of fixed size, because it is filled from segments that may be garbage. */
#include "platform/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/report.h"

void mproc__report_clear(mproc__report *report)
{
    report->state[0] = '\0';
    report->holder_count = 0;
}

unsigned mproc__report_told(const mproc__report *report)
{
    return report->holder_count < MPROC__REPORT_HOLDERS ? report->holder_count : MPROC__REPORT_HOLDERS;
}

/* Bytes above 127 stay: names are often UTF-8. */
void mproc__report_clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
}

void mproc__report_state(mproc__report *report, const char *format, ...)
{
    size_t used = strlen(report->state);
    if (used > 0 && used + 2 < sizeof(report->state)) {
        report->state[used++] = '\n';
        report->state[used] = '\0';
    }
    va_list args;
    va_start(args, format);
    vsnprintf(report->state + used, sizeof(report->state) - used, format, args);
    va_end(args);
    mproc__report_clean(report->state + used);
}

/* Numbers that cannot be a process's come from garbage; as unknown ones they do no harm. */
static pid_t number_or_unknown(pid_t number)
{
    return number > 0 ? number : 0;
}

void mproc__report_holder(mproc__report *report, pid_t pid, pid_t tid, const char *as)
{
    if (report->holder_count < MPROC__REPORT_HOLDERS) {
        mproc__report_entry *entry = &report->holders[report->holder_count];
        entry->pid = number_or_unknown(pid);
        entry->tid = number_or_unknown(tid);
        snprintf(entry->as, sizeof(entry->as), "%s", as);
        mproc__report_clean(entry->as);
    }
    if (report->holder_count < UINT32_MAX)
        report->holder_count++;
}
