/* What tport.conf means for the processes of this machine. */
#ifndef BIN_PLAN_H
#define BIN_PLAN_H

#include "core/conf.h"
#include "core/master.h"

/* For master_run. Reads the file and the certificates it names; every error in error, one a line. */
enum tp_err plan_load(const char *path, struct master_plan *ret_plan, struct tp_error *error) TP_MUST;
/* tportd -t: prints all errors and warnings of the file; the exit code. */
int plan_test(const char *path);

#endif
