/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * private_file.h - small files that nobody else may read: keys.
 *
 * A file that others could have read or written is refused, not used: its mode
 * must be 0600 or stricter, and it must belong to the user of this process.
 * Root may also use one that belongs to the owner of its folder (the service's
 * user), and writes it for that user.
 *
 * Errors: -errno: -ENOENT, -EACCES (also for a looser mode or another owner),
 * -EFBIG, -EEXIST, ...; *ret_why is a constant text that says it.
 */
#ifndef WEIR_COMMON_PRIVATE_FILE_H
#define WEIR_COMMON_PRIVATE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* At most size - 1 bytes, and a NUL after them; *ret_len without it. */
int private_file_read(const char *path, char *buf, size_t size, size_t *ret_len,
		      const char **ret_why);

/*
 * Whole or not at all, durable, 0600. replace: over what is there; else
 * -EEXIST when there is something.
 */
int private_file_write(const char *path, const char *data, size_t len, bool replace,
		       const char **ret_why);

/* Makes the folder (0700) if it is missing; its parent must be there. */
int private_folder_make(const char *path);

#endif /* WEIR_COMMON_PRIVATE_FILE_H */
