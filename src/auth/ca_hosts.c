/* Which hosts have come along with a rotation of the host CA. A phase changes what hosts' certificates are signed with; a host
 * has renewed when it shows one that is younger. Who has not when the old keys go is shut out until it joins anew. */
#include "auth/ca.h"
#include "auth/ca_hosts.h"
#include "auth/hosts.h"
#include "auth/inner.h"

#include <string.h>

#define NAMES_MAX 100 /* of those who are left, in answers */
#define NAMES_SAID 5  /* and in a sentence */

bool ca_moves_hosts(const struct auth *auth, enum ca_kind kind)
{
    enum ca_phase phase = auth->ca[kind].phase;
    return kind == CA_HOST && (phase == CA_UPDATE_CLIENTS || phase == CA_UPDATE_SERVERS || phase == CA_ROLLBACK);
}

struct left {
    int64_t since;
    const struct host **hosts;
    size_t count;
};

static void look(void *ctx, const char *id, void *value)
{
    struct left *left = ctx;
    const struct host *host = value;
    (void)id;
    if (host->cert_made <= left->since) {
        left->hosts[left->count++] = host;
    }
}

static int by_name(const void *a, const void *b)
{
    const struct host *const *left = a;
    const struct host *const *right = b;
    int order = strcmp((*left)->name, (*right)->name);
    return order != 0 ? order : strcmp((*left)->id, (*right)->id);
}

json_t *ca_hosts(const struct auth *auth)
{
    struct left left = {.since = auth->ca[CA_HOST].since};
    json_t *names = json_array();
    left.hosts = mem_array(map_count(auth->hosts) + 1, sizeof *left.hosts);
    map_each(auth->hosts, look, &left);
    qsort(left.hosts, left.count, sizeof *left.hosts, by_name);
    for (size_t i = 0; i < left.count && i < NAMES_MAX; i++) {
        json_array_append_new(names, json_pack("{s:s, s:s, s:b}", "id", left.hosts[i]->id, "hostname",
                                               left.hosts[i]->name, "online", left.hosts[i]->tunnels != NULL));
    }
    mem_free(left.hosts);
    return json_pack("{s:I, s:I, s:o}", "total", (json_int_t)map_count(auth->hosts), "not_renewed",
                     (json_int_t)left.count, "names", names);
}

char *ca_hosts_said(const json_t *hosts)
{
    const json_t *names = json_object_get(hosts, "names");
    json_int_t count = json_get_int(hosts, "not_renewed", 0);
    char *text = mem_strdup("");
    json_int_t said = 0;
    size_t i;
    json_t *host;
    json_array_foreach (names, i, host) {
        if (said == NAMES_SAID) {
            break;
        }
        bool online = json_get_bool(host, "online", false);
        char *longer =
            mem_printf("%s%s%.40s%s%s%s", text, said > 0 ? ", " : "", json_get_text(host, "hostname", ""),
                       online ? "" : " (offline, ", online ? "" : json_get_text(host, "id", ""), online ? "" : ")");
        mem_free(text);
        text = longer;
        said++;
    }
    if (count > said) {
        char *longer = mem_printf("%s and %lld more", text, (long long)(count - said));
        mem_free(text);
        text = longer;
    }
    return text;
}

enum tp_err ca_hosts_ready(const struct auth *auth, enum ca_kind kind, enum ca_phase to, struct tp_error *error)
{
    if (!ca_moves_hosts(auth, kind) || to == CA_ROLLBACK) {
        return TP_OK;
    }
    json_t *hosts = ca_hosts(auth);
    json_int_t count = json_get_int(hosts, "not_renewed", 0);
    enum tp_err err = TP_OK;
    if (count > 0) {
        char *said = ca_hosts_said(hosts);
        err =
            err_set(error, TP_CONFLICT,
                    "%lld of %lld hosts have not renewed their certificates yet and would be shut out: %s. Wait until "
                    "`tportctl status` names none, remove one that is gone with `tportctl rm node/ID`, or leave them "
                    "behind with --force",
                    (long long)count, (long long)json_get_int(hosts, "total", 0), said);
        mem_free(said);
    }
    json_decref(hosts);
    return err;
}
