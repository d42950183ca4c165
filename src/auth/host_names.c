/* Hosts by their names: auth->host_names has the first one of each name, and those of one name hang together, so that one is
 * found, named anew and taken away at the same cost whatever number there is. */
#include "auth/hosts.h"
#include "auth/inner.h"

#include <ctype.h>
#include <string.h>

char *host_names_lower(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return copy;
}

struct host *host_names_first(const struct auth *auth, const char *name)
{
    char *key = host_names_lower(name);
    struct host *host = map_get(auth->host_names, key);
    mem_free(key);
    return host;
}

void host_names_set(struct auth *auth, struct host *host, const char *name)
{
    host_names_drop(auth, host);
    host->name = host_names_lower(name);
    host->next_named = map_set(auth->host_names, host->name, host);
    if (host->next_named != NULL) {
        host->next_named->prev_named = host;
    }
}

void host_names_drop(struct auth *auth, struct host *host)
{
    if (host->name == NULL) {
        return;
    }
    if (host->next_named != NULL) {
        host->next_named->prev_named = host->prev_named;
    }
    if (host->prev_named != NULL) {
        host->prev_named->next_named = host->next_named;
    } else if (host->next_named != NULL) {
        (void)map_set(auth->host_names, host->name, host->next_named);
    } else {
        (void)map_remove(auth->host_names, host->name);
    }
    host->next_named = host->prev_named = NULL;
    mem_free(host->name);
    host->name = NULL;
}

/* name is in small letters, as ids are. */
static bool is_others(const struct auth *auth, const char *id, const char *name)
{
    const struct host *host = map_get(auth->hosts, name);
    bool others = host != NULL && strcmp(host->id, id) != 0;
    host = map_get(auth->host_names, name);
    while (host != NULL && !others) {
        others = strcmp(host->id, id) != 0;
        host = host->next_named;
    }
    return others;
}

bool host_names_taken(const struct auth *auth, const char *id, const char *name)
{
    char *own = host_names_lower(name);
    bool taken = is_others(auth, id, own);
    size_t length = strlen(own);
    size_t cluster = strlen(auth->settings.cluster);
    if (!taken && length > cluster && own[length - cluster - 1] == '.' &&
        strcasecmp(own + length - cluster, auth->settings.cluster) == 0) {
        own[length - cluster - 1] = '\0';
        taken = is_others(auth, id, own);
    }
    mem_free(own);
    return taken;
}
