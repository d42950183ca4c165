/* Users that were read lately. Each call of a person begins with his record, whose text changes seldom, and reading it strictly
 * costs more than most decisions: what is kept is what exactly these bytes said. */
#ifndef AUTH_USER_CACHE_H
#define AUTH_USER_CACHE_H

#include "base/err.h"
#include "rbac/user.h"
#include "store/store.h"

struct user_cache;

struct user_cache *user_cache_new(void) TP_MUST;
void user_cache_free(struct user_cache *cache); /* NULL is fine */

/* The user of this name as the store has him now (it is asked in each call). ret_user is the cache's and good until the next
 * call. TP_NOT_FOUND; TP_CORRUPT when the document cannot be read. */
enum tp_err user_cache_find(struct user_cache *cache, struct store *store, const char *name,
                            const struct user **ret_user, struct tp_error *error) TP_MUST;

#endif
