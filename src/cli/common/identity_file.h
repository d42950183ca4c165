/* Identity files (`tport login -o`, `tportctl auth sign`): keys, certificates and CAs in one file, used in place of a
 * profile. */
#ifndef CLI_COMMON_IDENTITY_FILE_H
#define CLI_COMMON_IDENTITY_FILE_H

#include "base/err.h"

/* Makes the identity in file path the only profile of this process and of the programs it starts: the parts are kept in a
 * folder of their own below the home of profiles (named by the file's hash, mode 0700), and TPORT_HOME points to it. proxy
 * is "HOST" or "HOST:PORT". A file of another form is TP_INVALID with what is missing; other profiles stay untouched. */
enum tp_err identity_file_use(const char *path, const char *proxy, struct tp_error *error) TP_MUST;

#endif
