/* Grants of auth, checked before anything is done for a stream. */
#include "agent/agent_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "crypt/grant.h"

#include <string.h>

#define SEEN_MAX 65536
#define SID_MAX 64

static int64_t expires_at(const json_t *grant)
{
    const char *text = json_get_text(grant, "expires", NULL);
    int64_t ms = 0;
    if (text != NULL && clock_parse_ms(text, &ms) == TP_OK) {
        return ms / 1000;
    }
    return json_get_int(grant, "expires", clock_wall() + 3600);
}

/* A grant opens one stream: true and remembered, or false when it was used before. */
static bool first_use(struct agent *agent, const char *sid, int64_t expires)
{
    int64_t now = clock_wall();
    size_t kept = 0;
    bool used = false;
    for (size_t i = 0; i < agent->seen_count; i++) {
        struct seen_sid *seen = &agent->seen[i];
        if (seen->expires < now) {
            mem_free(seen->sid);
            continue;
        }
        used = used || strcmp(seen->sid, sid) == 0;
        agent->seen[kept++] = *seen;
    }
    agent->seen_count = kept;
    if (used || kept >= SEEN_MAX) {
        return false;
    }
    agent->seen = mem_resize(agent->seen, (kept + 1) * sizeof(*agent->seen));
    agent->seen[agent->seen_count++] = (struct seen_sid){.sid = mem_strdup(sid), .expires = expires};
    return true;
}

enum tp_err agent_open_grant(struct agent *agent, const char *service, const uint8_t *data, size_t size,
                             json_t **ret_grant, struct tp_error *error)
{
    const uint8_t(*keys)[32] = (const uint8_t(*)[32])agent->state.grant_keys;
    json_t *grant = NULL;
    enum tp_err err = grant_open(data, size, keys, agent->state.grant_key_count, agent->state.host_id, service,
                                 clock_wall(), &grant, error);
    if (err != TP_OK) {
        return err;
    }
    const char *sid = json_get_text(grant, "sid", "");
    bool resume = json_get_bool(grant, "resume", false);
    const char *once = resume ? json_get_text(grant, "attach", "") : sid;
    if (resume && !session_is_open(agent, sid)) {
        json_decref(grant);
        return err_set(error, TP_NOT_FOUND, "the terminal has ended; open a new one");
    }
    if (sid[0] == '\0' || strlen(sid) > SID_MAX || once[0] == '\0' || strlen(once) > SID_MAX ||
        session_is_open(agent, sid) != resume || !first_use(agent, once, expires_at(grant))) {
        json_decref(grant);
        return err_set(error, TP_DENIED, "the grant was used before");
    }
    *ret_grant = grant;
    return TP_OK;
}
