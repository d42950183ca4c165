/* Retention (auth_service.retention) and the audit log's indexes: jobs of minutes, off the loop. */
#ifndef AUTH_KEEP_H
#define AUTH_KEEP_H

#include "auth/inner.h"

/* keep_recordings.c */
void keep_recordings_open(struct auth *auth);
void keep_recordings_round(struct auth *auth);
void keep_recordings_close(struct auth *auth);

#endif
