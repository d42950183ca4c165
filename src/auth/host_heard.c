/*
 * What a host reports is on record once. An agent names each report, and makes it again under that name until it has heard the answer;
 * so one whose answer alone was lost would stand in the log twice. The uid of an event that a host reports is therefore made of who it
 * is, the name of the report and all that it says: the same again has the same uid, and what is remembered of the host says whether it
 * is on record. Anything else, another host's or another text under the same name, has another uid and is written (R15).
 *
 * The uid stands in the log, so a process that starts reads there what the one before it has written. What was too much to be
 * remembered is written again, under the same uid.
 */
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"

#include <string.h>

#define HEARD_MS ((int64_t)6 * 60 * 1000) /* an agent makes a report again for five minutes */
#define HEARD_MIN ((size_t)16)
#define READ_AT_START 8192 /* events, the newest ones */
#define UID_VERSION \
    '8' /* RFC 9562: of a UUID that is made in a way of one's own; what auth does itself has random ones (4) */
#define UID_VERSION_AT 14

struct heard_one {
    char uid[UUID_TEXT_SIZE];
    int64_t at_ms; /* mono */
};

/* A ring; room is a power of two. */
struct host_heard {
    struct heard_one *ring;
    size_t room, first, count;
};

static struct heard_one *one_at(const struct host_heard *heard, size_t index)
{
    return &heard->ring[(heard->first + index) & (heard->room - 1)];
}

static bool has(const struct host_heard *heard, const char *uid)
{
    for (size_t i = heard != NULL ? heard->count : 0; i-- > 0;) { /* the newest are asked for most */
        if (memcmp(one_at(heard, i)->uid, uid, UUID_TEXT_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

static void forget_old(struct host_heard *heard, int64_t before_ms)
{
    while (heard->count > 0 && one_at(heard, 0)->at_ms < before_ms) {
        heard->first++;
        heard->count--;
    }
}

static void grow(struct host_heard *heard)
{
    struct host_heard larger = {.room = heard->room * 2, .count = heard->count};
    larger.ring = mem_array(larger.room, sizeof *larger.ring);
    for (size_t i = 0; i < heard->count; i++) {
        larger.ring[i] = *one_at(heard, i);
    }
    mem_free(heard->ring);
    *heard = larger;
}

/* There is room for one more afterwards. */
static struct host_heard *make_room(struct host *host)
{
    struct host_heard *heard = host->heard;
    if (heard == NULL) {
        heard = mem_alloc(sizeof *heard);
        *heard = (struct host_heard){.ring = mem_array(HEARD_MIN, sizeof *heard->ring), .room = HEARD_MIN};
        host->heard = heard;
    }
    forget_old(heard, clock_mono_ms() - HEARD_MS);
    if (heard->count == heard->room && heard->room < HOST_HEARD_MAX) {
        grow(heard);
    } else if (heard->count == heard->room) {
        heard->first++;
        heard->count--;
    }
    return heard;
}

static void set(struct heard_one *one, const char *uid)
{
    one->at_ms = clock_mono_ms();
    snprintf(one->uid, sizeof one->uid, "%s", uid);
}

static void make_uid(const struct host *host, const char *name, size_t index, const json_t *report,
                     char uid[UUID_TEXT_SIZE])
{
    struct crypt_sha256_stream *stream = crypt_sha256_new();
    char *text = json_text(report);
    uint8_t hash[32];
    crypt_sha256_add(stream, host->id, strlen(host->id) + 1);
    crypt_sha256_add(stream, name, strlen(name) + 1);
    crypt_sha256_add(stream, &index, sizeof index);
    crypt_sha256_add(stream, text, strlen(text));
    crypt_sha256_finish(stream, hash);
    mem_free(text);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    char *hex = enc_hex(hash, 16);
    hex[12] = UID_VERSION;
    snprintf(uid, UUID_TEXT_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    mem_free(hex);
}

bool host_heard(const struct call *call, size_t index, const json_t *report, json_t *event)
{
    struct host *host = call->caller.host_id != NULL ? hosts_get(call->auth, call->caller.host_id) : NULL;
    const char *name = json_get_text(call->params, "report", "");
    char uid[UUID_TEXT_SIZE];
    if (host == NULL || name[0] == '\0') { /* an agent of before */
        return false;
    }
    make_uid(host, name, index, report, uid);
    json_object_set_new(event, "uid", json_string(uid));
    return has(host->heard, uid);
}

void host_heard_written(struct auth *auth, const char *host_id, const char *uid)
{
    struct host *host = host_id != NULL ? hosts_get(auth, host_id) : NULL;
    if (host != NULL && uid[UID_VERSION_AT] == UID_VERSION) {
        struct host_heard *heard = make_room(host);
        set(one_at(heard, heard->count++), uid);
    }
}

void host_heard_free(struct host *host)
{
    if (host->heard != NULL) {
        mem_free(host->heard->ring);
        mem_free(host->heard);
        host->heard = NULL;
    }
}

static void sweep_one(void *ctx, const char *key, void *value)
{
    struct host *host = value;
    (void)key;
    if (host->heard != NULL) {
        forget_old(host->heard, *(int64_t *)ctx);
        if (host->heard->count == 0) {
            host_heard_free(host);
        }
    }
}

void host_heard_sweep(struct auth *auth)
{
    int64_t before_ms = clock_mono_ms() - HEARD_MS;
    map_each(auth->hosts, sweep_one, &before_ms);
}

/* ---- what the process before this one has written ---- */

struct reading {
    struct auth *auth;
    int64_t from_ms; /* wall */
    size_t count;
};

/* From the newest on: each goes in front of what is there. */
static bool on_written(void *ctx, const json_t *event)
{
    struct reading *reading = ctx;
    const char *uid = json_get_text(event, "uid", "");
    int64_t when = 0;
    if (clock_parse_ms(json_get_text(event, "time", ""), &when) != TP_OK || when < reading->from_ms ||
        ++reading->count > READ_AT_START) {
        return false;
    }
    struct host *host = hosts_get(reading->auth, json_get_text(event, "server_id", ""));
    if (host != NULL && strlen(uid) == UUID_TEXT_SIZE - 1 && uid[UID_VERSION_AT] == UID_VERSION &&
        (host->heard == NULL || host->heard->count < HOST_HEARD_MAX)) {
        struct host_heard *heard = make_room(host);
        heard->first--;
        heard->count++;
        set(one_at(heard, 0), uid);
    }
    return true;
}

enum tp_err host_heard_load(struct auth *auth, struct tp_error *error)
{
    struct reading reading = {.auth = auth, .from_ms = clock_wall_ms() - HEARD_MS};
    struct audit_query query = {.ascending = false};
    struct tp_error why = {0};
    char *next = NULL;
    (void)error;
    if (audit_log_query(audit_dir(auth), &query, on_written, &reading, &next, &why) != TP_OK) {
        log_warn("what hosts have reported may be put on record once more", "error=\"%s\"", why.text);
    }
    mem_free(next);
    return TP_OK;
}
