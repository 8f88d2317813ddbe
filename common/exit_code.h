/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* exit_code.h - what the exit status of both programs means; listed in README.md. */
#ifndef WEIR_COMMON_EXIT_CODE_H
#define WEIR_COMMON_EXIT_CODE_H

enum exit_code {
	EXIT_OK = 0,	      /* done, also when the answer is empty */
	EXIT_RUNTIME = 1,     /* failed while running; the message says why */
	EXIT_USAGE = 2,	      /* bad option, configuration value, filter or SQL */
	EXIT_CHECK = 3,	      /* a check that the user asked for did not hold */
	EXIT_UNREACHABLE = 4, /* the other side cannot be reached (address unusable, port taken) */
	EXIT_PERMISSION = 5,  /* capabilities or file permissions missing */
	EXIT_NO_IFACE = 6,    /* no such network interface */
	EXIT_NO_BTF = 7,      /* the kernel has no BTF (CONFIG_DEBUG_INFO_BTF) */
	EXIT_NOT_OURS = 8,    /* the database is not weir's, damaged, or of a newer version */
	EXIT_DISK_FULL = 9,   /* no space left where the database is */
};

#endif /* WEIR_COMMON_EXIT_CODE_H */
