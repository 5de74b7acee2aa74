// SPDX-License-Identifier: BSD-2-Clause
// The peer of the queue: Boost.Interprocess's message_queue. `peer_boost BYTES MESSAGES` sends so many messages of that
// size from a child to this process and prints the messages per second.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace ipc = boost::interprocess;

// As bench_pin: the first two CPUs of our mask.
static void pin(unsigned side, const cpu_set_t &allowed)
{
    unsigned seen = 0, last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && seen <= side; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            last = cpu;
            seen++;
        }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

static void produce(ipc::message_queue &queue, std::size_t bytes, unsigned long messages)
{
    std::vector<char> message(bytes, 'x');
    for (unsigned long i = 0; i < messages; i++)
        queue.send(message.data(), bytes, 0);
}

static double consume(ipc::message_queue &queue, std::size_t bytes, unsigned long messages)
{
    std::vector<char> message(bytes);
    ipc::message_queue::size_type size;
    unsigned priority;
    auto start = std::chrono::steady_clock::now();
    for (unsigned long i = 0; i < messages; i++)
        queue.receive(message.data(), bytes, size, priority);
    return double(messages) / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    const std::size_t bytes = std::strtoul(argv[1], nullptr, 10);
    const unsigned long messages = std::strtoul(argv[2], nullptr, 10);
    const std::string name = "mproc-peer-" + std::to_string(getpid());
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    ipc::message_queue::remove(name.c_str());
    // As many messages as fit into 1 MiB, the size of our queue.
    ipc::message_queue queue(ipc::create_only, name.c_str(), (1u << 20) / bytes, bytes);
    const pid_t child = fork();
    if (child == 0) {
        pin(1, allowed);
        produce(queue, bytes, messages);
        _exit(0);
    }
    pin(0, allowed);
    const double rate = consume(queue, bytes, messages);
    waitpid(child, nullptr, 0);
    ipc::message_queue::remove(name.c_str());
    std::printf("%.6g\n", rate);
    return 0;
}
