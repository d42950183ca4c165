/* Grants of auth, checked before anything is done for a stream. */
#include "agent/agent_priv.h"
#include "agent/agent_used.h"

#include "base/clock.h"
#include "base/mem.h"
#include "crypt/grant.h"

#include <string.h>
#include <time.h>

#define SEEN_MAX 65536
#define SID_MAX 64
/* So long after the start grants from before it could still be good, here, where the clock may be a minute behind auth's. */
#define FRESH_MS AGENT_USED_MS

static int64_t expires_at(const json_t *grant)
{
    const char *text = json_get_text(grant, "expires", NULL);
    int64_t ms = 0;
    if (text != NULL && clock_parse_ms(text, &ms) == TP_OK) {
        return ms / 1000;
    }
    return json_get_int(grant, "expires", clock_wall() + 3600);
}

/* A grant that has been used: it must not open a second session. */
struct seen_sid {
    struct seen_sid *next; /* used after it; grants live equally long, so it ends after it too */
    int64_t expires;       /* Unix seconds */
    int64_t ends_ms;       /* mono: a clock that is set forward and back does not make it good again */
    char sid[];
};

static void forget_first(struct agent *agent)
{
    struct seen_grants *seen = &agent->seen;
    struct seen_sid *first = seen->first;
    (void)map_remove(seen->by_sid, first->sid);
    seen->first = first->next;
    mem_free(first);
}

void agent_grants_sweep(struct agent *agent, int64_t now, int64_t mono_ms)
{
    struct seen_grants *seen = &agent->seen;
    while (seen->first != NULL && seen->first->expires < now && seen->first->ends_ms < mono_ms) {
        agent_used_forget(agent->dir, seen->first->sid);
        forget_first(agent);
    }
    if (seen->first == NULL) { /* the map is as large as it had to be */
        map_free(seen->by_sid);
        seen->by_sid = NULL;
    }
}

/* A grant opens one stream: true and remembered, or false when it was used before. */
static bool first_use(struct agent *agent, const char *sid, int64_t expires)
{
    struct seen_grants *seen = &agent->seen;
    size_t size = strlen(sid) + 1;
    int64_t now = clock_wall();
    int64_t mono_ms = clock_mono_ms();
    int64_t left_ms = (expires - now) * 1000;
    agent_grants_sweep(agent, now, mono_ms);
    if (seen->by_sid == NULL) {
        seen->by_sid = map_new();
    }
    if (map_get(seen->by_sid, sid) != NULL || map_count(seen->by_sid) >= SEEN_MAX) {
        return false;
    }
    struct seen_sid *last = mem_alloc(sizeof(*last) + size);
    memcpy(last->sid, sid, size);
    last->expires = expires;
    last->ends_ms = mono_ms + (left_ms < AGENT_USED_MS ? left_ms : AGENT_USED_MS);
    if (seen->first == NULL) {
        seen->first = last;
    } else {
        seen->last->next = last;
    }
    seen->last = last;
    (void)map_set(seen->by_sid, last->sid, last);
    return true;
}

void agent_grants_init(struct agent *agent)
{
    struct timespec up = {0};
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    agent->seen.started_ms = clock_wall_ms();
    agent->seen.started_mono_ms = clock_mono_ms();
    agent->seen.machine_starts = (int64_t)up.tv_sec * 1000 < FRESH_MS;
}

/* The process before this one may have used it, and what it noted is lost. */
static bool is_from_before(const struct seen_grants *seen, const json_t *grant)
{
    int64_t issued_ms = 0;
    bool known = clock_parse_ms(json_get_text(grant, "issued", ""), &issued_ms) == TP_OK;
    return clock_mono_ms() - seen->started_mono_ms < FRESH_MS && (!known || issued_ms < seen->started_ms);
}

void agent_grants_free(struct agent *agent)
{
    while (agent->seen.first != NULL) { /* the files stay: the next process asks for them */
        forget_first(agent);
    }
    map_free(agent->seen.by_sid);
    agent->seen.by_sid = NULL;
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
    enum agent_used used = AGENT_USED_BEFORE;
    if (sid[0] != '\0' && strlen(sid) <= SID_MAX && once[0] != '\0' && strlen(once) <= SID_MAX &&
        session_is_open(agent, sid) == resume && first_use(agent, once, expires_at(grant))) {
        used = agent_used_note(agent->dir, once);
    }
    if (used == AGENT_USED_BEFORE) {
        json_decref(grant);
        return err_set(error, TP_DENIED, "the grant was used before");
    }
    if ((used == AGENT_USED_UNKNOWN || agent->seen.machine_starts) && is_from_before(&agent->seen, grant)) {
        json_decref(grant);
        return err_set(
            error, TP_DENIED,
            "tportd on this server was started a moment ago and takes nothing from before that; connect again (when "
            "that does not help for a minute, its clock is ahead of the proxy's)");
    }
    *ret_grant = grant;
    return TP_OK;
}
