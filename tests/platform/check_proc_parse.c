/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts of one process, also hostile ones: names that look like the rest of the line. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "platform/machine.h"
#include "platform/proc.h"
#include "support/support.h"

#define STAT_TAIL                                                                                            \
    " S 7 5 6 0 -1 4194304 101 0 3 0 11 12 13 14 20 -5 3 0 4875800 3133440 418 184467440737095516150\n"

static bool parse(const char *text, mproc__proc_stat *ret_stat)
{
    return mproc__proc_stat_parse(text, strlen(text), ret_stat);
}

START_TEST(every_number_of_a_stat_line_is_in_its_place)
{
    mproc__proc_stat stat;
    ck_assert(parse("42 (cat)" STAT_TAIL, &stat));
    ck_assert_int_eq(stat.pid, 42);
    ck_assert_str_eq(stat.name, "cat");
    ck_assert_int_eq(stat.state, 'S');
    ck_assert_int_eq(stat.parent_pid, 7);
    ck_assert_int_eq(stat.group_pid, 5);
    ck_assert_int_eq(stat.session_pid, 6);
    ck_assert_int_eq(stat.minor_faults, 101);
    ck_assert_int_eq(stat.major_faults, 3);
    ck_assert_int_eq(stat.user_ticks, 11);
    ck_assert_int_eq(stat.system_ticks, 12);
    ck_assert_int_eq(stat.children_user_ticks, 13);
    ck_assert_int_eq(stat.children_system_ticks, 14);
    ck_assert_int_eq(stat.nice, -5);
    ck_assert_int_eq(stat.threads, 3);
    ck_assert_uint_eq(stat.start_ticks, 4875800);
    ck_assert_int_eq(stat.vms_bytes, 3133440);
    ck_assert(!stat.kernel_thread);
    ck_assert(parse("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 0 0", &stat));
    ck_assert(stat.kernel_thread);
}
END_TEST

START_TEST(a_name_may_hold_brackets_blanks_newlines_and_whole_stat_lines)
{
    static const char *const names[] = {"",     ")",       "(",        "a) R 1 1 1", ") S 7 5 6 0 (",
                                        "a\nb", "x\n9 (y", "\xff\xfe", "  "};
    for (size_t i = 0; i < MPROC__COUNT(names); i++) {
        char line[512];
        mproc__proc_stat stat;
        snprintf(line, sizeof line, "42 (%s)%s", names[i], STAT_TAIL);
        ck_assert_msg(parse(line, &stat), "%s", line);
        ck_assert_str_eq(stat.name, names[i]);
        ck_assert_int_eq(stat.parent_pid, 7);
        ck_assert_uint_eq(stat.start_ticks, 4875800);
    }
}
END_TEST

START_TEST(what_is_no_stat_line_is_refused)
{
    static const char *const texts[] = {
        "",       "42",         "42 (cat",    "42 cat)",      ")(",
        "(cat) ", "42 (cat) S", "42 (cat)S7", "-3 (cat) S 1", "42 (cat) S 1 2 3 x"};
    mproc__proc_stat stat;
    for (size_t i = 0; i < MPROC__COUNT(texts); i++)
        ck_assert_msg(!parse(texts[i], &stat), "%s", texts[i]);
    /* Every beginning of a good line is none, until its last number begins. */
    static const char good[] = "42 (cat) S 7 5 6 0 -1 4194304 101 0 3 0 11 12 13 14 20 -5 3 0 4875800 3";
    for (size_t length = 0; length < sizeof good - 2; length++)
        ck_assert(!mproc__proc_stat_parse(good, length, &stat));
    ck_assert(mproc__proc_stat_parse(good, sizeof good - 1, &stat));
}
END_TEST

START_TEST(numbers_beyond_the_range_saturate)
{
    const char text[] = "  99999999999999999999 -99999999999999999999 9223372036854775807 0x";
    const char *at = text, *end = text + sizeof text - 1;
    int64_t number;
    ck_assert(mproc__proc_number(&at, end, &number));
    ck_assert_int_eq(number, INT64_MAX);
    ck_assert(mproc__proc_number(&at, end, &number));
    ck_assert_int_eq(number, -INT64_MAX);
    ck_assert(mproc__proc_number(&at, end, &number));
    ck_assert_int_eq(number, INT64_MAX);
    ck_assert(mproc__proc_number(&at, end, &number));
    ck_assert_int_eq(number, 0);
    ck_assert(!mproc__proc_number(&at, end, &number));
    ck_assert_ptr_eq(at, end - 1);
    ck_assert_int_eq(mproc__proc_ticks_ns(INT64_MAX), INT64_MAX);
}
END_TEST

START_TEST(the_status_gives_sizes_in_bytes_and_says_what_is_missing)
{
    static const char text[] =
        "Name:\tVmRSS: 9 kB\nTgid:\t12\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmHWM:\t     20 kB\n"
        "VmRSS:\t 10 kB\nRssFile:\t3 kB\nRssShmem:\t 4 kB\n"
        "voluntary_ctxt_switches:\t15\nnonvoluntary_ctxt_switches:\t16";
    mproc__proc_status status;
    mproc__proc_status_parse(text, sizeof text - 1, &status);
    ck_assert_int_eq(status.process_pid, 12);
    ck_assert_int_eq(status.uids[0], 1);
    ck_assert_int_eq(status.uids[2], 3);
    ck_assert_int_eq(status.gids[1], 6);
    ck_assert_int_eq(status.rss_max_bytes, 20480);
    ck_assert_int_eq(status.rss_bytes, 10240);
    ck_assert_int_eq(status.rss_file_bytes, 3072);
    ck_assert_int_eq(status.rss_shmem_bytes, 4096);
    ck_assert_int_eq(status.swap_bytes, 0);
    ck_assert_int_eq(status.voluntary_switches, 15);
    ck_assert_int_eq(status.involuntary_switches, 16);
    mproc__proc_status_parse("", 0, &status);
    ck_assert_int_eq(status.process_pid, 0);
    ck_assert_int_eq(status.uids[0], -1); /* nobody is taken for root */
    ck_assert_int_eq(status.gids[2], -1);
    ck_assert_int_eq(mproc__proc_key_number(text, sizeof text - 1, "VmRSS", -1), 10240);
    ck_assert_int_eq(mproc__proc_key_number(text, sizeof text - 1, "VmSwap", -1), -1);
    ck_assert_int_eq(mproc__proc_key_number("K: 9223372036854775807 kB", 25, "K", -1), INT64_MAX);
}
END_TEST

START_TEST(the_machine_is_read_from_its_three_texts)
{
    mproc_machine machine = {0};
    static const char memory[] =
        "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
    static const char load[] = "0.55 1.28 10.01 1/88 8287\n";
    static const char stat[] = "cpu  100 20 30 400 50 6 7 8 9 10\ncpu0 1 1 1 1\nintr 5\nbtime 1795250754\n";
    int64_t tick_ns = mproc__proc_ticks_ns(1);
    mproc__machine_memory_parse(memory, sizeof memory - 1, &machine);
    mproc__machine_load_parse(load, sizeof load - 1, &machine);
    mproc__machine_stat_parse(stat, sizeof stat - 1, &machine);
    ck_assert_int_eq(machine.memory_bytes, 1024000);
    ck_assert_int_eq(machine.available_bytes, 409600);
    ck_assert_int_eq(machine.swap_bytes, 0);
    ck_assert_double_eq_tol(machine.load[0], 0.55, 1e-9);
    ck_assert_double_eq_tol(machine.load[2], 10.01, 1e-9);
    ck_assert_int_eq(machine.runnable_threads, 1);
    ck_assert_int_eq(machine.threads, 88);
    ck_assert_int_eq(machine.boot_date_s, 1795250754);
    ck_assert_int_eq(machine.busy_ns, 163 * tick_ns);
    ck_assert_int_eq(machine.idle_ns, 450 * tick_ns);
    mproc__machine_load_parse("1.5x", 4, &machine);
    mproc__machine_stat_parse("cpu ", 4, &machine);
    ck_assert_int_eq(machine.busy_ns, 0);
    ck_assert_int_eq(machine.boot_date_s, 1795250754);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("proc_parse");
    TCase *texts = support_case(suite, "texts");
    tcase_add_test(texts, every_number_of_a_stat_line_is_in_its_place);
    tcase_add_test(texts, a_name_may_hold_brackets_blanks_newlines_and_whole_stat_lines);
    tcase_add_test(texts, what_is_no_stat_line_is_refused);
    tcase_add_test(texts, numbers_beyond_the_range_saturate);
    tcase_add_test(texts, the_status_gives_sizes_in_bytes_and_says_what_is_missing);
    tcase_add_test(texts, the_machine_is_read_from_its_three_texts);
    return support_run(suite, argc, argv);
}
