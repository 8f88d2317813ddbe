// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/db_error.h"

#include <errno.h>

#include "common/exit_code.h"

int db_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOTADB:
		return -EMEDIUMTYPE;
	case SQLITE_CORRUPT:
		return -EUCLEAN;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CONSTRAINT:
	case SQLITE_ERROR:
	case SQLITE_RANGE:
		return -EINVAL;
	default:
		return -EIO;
	}
}

int db_last_errno(sqlite3 *db)
{
	int err = db_errno(sqlite3_extended_errcode(db));

	if (err != -EIO)
		return err;
	switch (sqlite3_system_errno(db)) {
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EACCES:
	case EPERM:
	case EROFS:
		return -EACCES;
	case ENOENT:
	case ENOTDIR:
		return -ENOENT;
	default:
		return -EIO;
	}
}

int db_exit_code(int err)
{
	switch (err) {
	case 0:
		return EXIT_OK;
	case -EACCES:
		return EXIT_PERMISSION;
	case -EMEDIUMTYPE:
	case -EPROTO:
	case -EUCLEAN:
		return EXIT_NOT_OURS;
	case -ENOSPC:
		return EXIT_DISK_FULL;
	default:
		return EXIT_RUNTIME;
	}
}
