/*
 * The one-time-code devices of a person, in the document of his login: {"devices": [{id, name, totp, last_step, added, used}]}.
 * Nothing here reads or writes the store: callers fetch the document, change it here, and write it with its revision.
 */
#ifndef AUTH_DEVICES_H
#define AUTH_DEVICES_H

#include "base/err.h"
#include "base/json.h"

#define DEVICES_MAX 10

/* The array, which belongs to login; never NULL. What older versions wrote (one device) is brought into this form. */
json_t *devices_of(json_t *login);
/* A device by its id, or NULL; borrowed. */
json_t *devices_find(json_t *login, const char *id);
/* May a device (this one, by its id; NULL: a new one) have this name? 1 to 64 bytes of text, no other one's. TP_INVALID,
 * TP_EXISTS. */
enum tp_err devices_check_name(json_t *login, const char *name, const char *id, struct tp_error *error) TP_MUST;
/* A new entry with an id of its own; step: of the code that proved it. The caller's. */
json_t *devices_make(const char *name, const char *seed, int64_t step) TP_MUST;
/* What people see of them: id, name, added, used; no seed. */
json_t *devices_shown(json_t *login) TP_MUST;

#endif
