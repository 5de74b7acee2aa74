/* SPDX-License-Identifier: BSD-2-Clause */
/* Page one. A user includes this and nothing else. */
#ifndef MPROC_H
#define MPROC_H

#include <mproc/base.h>
#include <mproc/error.h>
#include <mproc/deadline.h>
#include <mproc/variant.h>
#include <mproc/call.h>
#include <mproc/place.h>
#include <mproc/shm.h>
#include <mproc/sync.h>
#include <mproc/wait.h>
#include <mproc/queue.h>
#include <mproc/connection.h>
#include <mproc/process.h>
#include <mproc/at_exit.h>
#include <mproc/running.h>
#include <mproc/program.h>
#include <mproc/future.h>
#include <mproc/pool.h>
#include <mproc/data.h>
#include <mproc/server.h>
#include <mproc/explain.h>

#endif
