/* The environment of a user's process: built from nothing (R12), with what the client asks for only by an allow-list. */
#ifndef SESSION_ENVIRONMENT_H
#define SESSION_ENVIRONMENT_H

#include "base/err.h"

#define ENVIRONMENT_MAX_FROM_CLIENT 64            /* env requests kept per channel */
#define ENVIRONMENT_MAX_VALUE ((size_t)32 * 1024) /* bytes of one value */

/* May the client set this variable? LANG, LC_*, TERM, COLORTERM always; with permit_any every plain name too, except
 * those that steer the loader, the shell or this product (LD_*, BASH_ENV, ENV, IFS, PATH, SSH_*, ...). */
bool environment_allows(const char *name, bool permit_any);

/* A list of NAME=VALUE. Zero-initialise it. */
struct environment {
    char **items; /* NULL-terminated once something has been set */
    size_t count;
};
/* Sets or replaces a variable. value NULL: nothing happens. */
void environment_set(struct environment *env, const char *name, const char *value);
/* The value, or NULL. */
const char *environment_get(const struct environment *env, const char *name);
/* The list for execve: never NULL, valid until the next change. */
char *const *environment_list(struct environment *env);
void environment_free(struct environment *env);

#endif
