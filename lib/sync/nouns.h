/* SPDX-License-Identifier: BSD-2-Clause */
/* The nouns of L2 and L3, registered. L3. */
#ifndef MPROC__SYNC_NOUNS_H
#define MPROC__SYNC_NOUNS_H

/* Lets parcels bring them and explain tell of them. At start-up; again does no harm. */
void mproc__nouns_register(void);

#endif
