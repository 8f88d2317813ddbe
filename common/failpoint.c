// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/failpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

void failpoint(const char *name)
{
	static int passed;
	const char *where = getenv("WEIR_FAILPOINT");
	size_t len = strlen(name);

	if (!where || strncmp(where, name, len) != 0 || where[len] != ':')
		return;
	if (__atomic_add_fetch(&passed, 1, __ATOMIC_SEQ_CST) == atoi(where + len + 1))
		(void)raise(SIGKILL); /* does not return */
}

size_t failpoint_number(const char *variable, size_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 10) : otherwise;
}
