/*
 * For whom the last of the disk is. Recordings end first, then what hosts report and with it new sessions; what is left then is for
 * people who sign in, see why, lock a host that fills the log, and make room.
 */
#ifndef AUTH_SPACE_H
#define AUTH_SPACE_H

#include "base/err.h"

#include <sys/statvfs.h>

enum space { SPACE_FOR_ALL, SPACE_FOR_THE_LOG, SPACE_FOR_PEOPLE };

enum space space_of(const struct statvfs *fs) TP_MUST;

#endif
