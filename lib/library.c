/* SPDX-License-Identifier: BSD-2-Clause */
/* The one file that knows all layers: start-up of the library. */
#include "platform/base.h"

