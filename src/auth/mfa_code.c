/* One-time codes, each once: a code is taken by a write that only one caller can win. */
#include "auth/caller.h"
#include "auth/devices.h"
#include "auth/inner.h"
#include "auth/mfa.h"

#include <string.h>

#define KNOWN_MAX 16 /* addresses per user from where he has logged in */
#define ATTEMPTS 3   /* when somebody else writes the same record meanwhile */

/* Compared with where there is no device, so that the answer takes as long. */
static const char no_seed[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static void remember(json_t *doc, const char *ip)
{
    json_t *known = json_object_get(doc, "known");
    if (!json_is_array(known)) {
        known = json_array();
        json_object_set_new(doc, "known", known);
    }
    if (!json_list_has(known, ip)) {
        json_array_append_new(known, json_string(ip));
        if (json_array_size(known) > KNOWN_MAX) {
            json_array_remove(known, 0);
        }
    }
}

/* The device whose code this is, fresh; NULL: none. All of a person's devices are looked at, so that it takes as long for
 * each. */
static json_t *match(json_t *doc, const char *code, int64_t *ret_step)
{
    json_t *found = NULL;
    json_t *devices = devices_of(doc);
    size_t i;
    json_t *device;
    int64_t step = 0;
    if (json_array_size(devices) == 0) {
        (void)!totp_check(no_seed, code, clock_wall(), &step);
    }
    json_array_foreach (devices, i, device) {
        const char *seed = json_get_text(device, "totp", NULL);
        bool good = totp_check(seed != NULL ? seed : no_seed, code, clock_wall(), &step) == TP_OK && seed != NULL;
        if (good && step > json_get_int(device, "last_step", 0) && found == NULL) {
            found = device;
            *ret_step = step;
        }
    }
    return found;
}

static const char wrong[] = "invalid or used one-time code";

/* NULL: the code is good, and doc says so from now on; the caller writes it. */
static const char *take(struct auth *auth, const struct mfa_code *given, json_t *doc, struct mfa_device *ret_device)
{
    const char *hash = json_get_text(doc, "hash", NULL);
    int64_t step = 0;
    /* The password may have been reset while the old one was being hashed. */
    bool same = given->password_hash == NULL || secret_equal_text(hash, given->password_hash);
    json_t *device = match(doc, given->code, &step);
    if (device == NULL || !same) {
        return wrong;
    }
    if (caller_device_locked(auth, json_get_text(device, "id", NULL))) {
        return MFA_DEVICE_LOCKED;
    }
    json_object_set_new(device, "last_step", json_integer(step));
    json_object_set_new(device, "used", doc_time(clock_wall_ms()));
    if (given->ip != NULL) {
        remember(doc, given->ip);
    }
    snprintf(ret_device->id, sizeof ret_device->id, "%s", json_get_text(device, "id", ""));
    snprintf(ret_device->name, sizeof ret_device->name, "%s", json_get_text(device, "name", ""));
    return NULL;
}

const char *mfa_use_code(struct auth *auth, const struct mfa_code *given, struct mfa_device *ret_device)
{
    struct tp_error error = {0};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        json_t *doc = NULL;
        uint64_t revision = 0;
        if (doc_find(auth->secrets, "/login/", given->user, &doc, &revision, &error) != TP_OK) {
            doc = json_object();
        }
        const char *refused = take(auth, given, doc, ret_device);
        if (refused != NULL) {
            json_decref(doc);
            return refused;
        }
        enum tp_err err = doc_put(auth->secrets, "/login/", given->user, doc, revision, NULL, &error);
        json_decref(doc);
        if (err == TP_OK) {
            return NULL;
        }
        if (err != TP_CONFLICT) {
            log_error("login cannot be stored", "error=\"%s\"", error.text);
            break;
        }
    }
    return wrong;
}

void mfa_waste_code(const char *code)
{
    int64_t step = 0;
    (void)!totp_check(no_seed, code, clock_wall(), &step);
}

json_t *mfa_device_json(const struct mfa_device *device)
{
    return json_pack("{s:s, s:s, s:s}", "mfa_device_name", device->name, "uuid", device->id, "type", "totp");
}
