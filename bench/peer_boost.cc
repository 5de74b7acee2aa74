// SPDX-License-Identifier: BSD-2-Clause
// Boost.Interprocess's message_queue, as deep as ours.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <unistd.h>

#include <memory>
#include <string>

#include "peer.h"

namespace ipc = boost::interprocess;

static std::string name;
static std::unique_ptr<ipc::message_queue> queue;

static int boost_open(std::size_t bytes)
{
    name = "mproc-peer-" + std::to_string(getpid());
    ipc::message_queue::remove(name.c_str());
    queue.reset(new ipc::message_queue(ipc::create_only, name.c_str(), peer_depth(bytes), bytes));
    return 0;
}

static int boost_send(const void *message, std::size_t bytes)
{
    queue->send(message, bytes, 0);
    return 0;
}

static int boost_receive(void *message, std::size_t bytes)
{
    ipc::message_queue::size_type size;
    unsigned priority;
    queue->receive(message, bytes, size, priority);
    return size != bytes;
}

static void boost_end(int sends)
{
    if (!sends)
        ipc::message_queue::remove(name.c_str());
}

const peer_operations peer = {boost_open, nullptr, boost_send, boost_receive, boost_end};
