/* Certificates that the local administrator makes for others (`tportctl auth sign`): through the same door as a login, so
 * roles cap them as they cap a login, and on record before they leave. */
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/issue.h"

#include <string.h>

/* event and result are stolen. */
static void answer(struct call *call, enum tp_err err, json_t *event, json_t *result, const struct tp_error *error)
{
    if (err != TP_OK) {
        call_fail(call, error);
        return;
    }
    json_object_set_new(result, "cluster_name", json_string(call->auth->settings.cluster));
    json_object_set_new(event, "impersonator", json_string(call->caller.user));
    call_reply_audited(call, event, result);
}

void do_certs_user(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct issue_user want = {.ip = ""};
    struct caller person;
    json_t *result = NULL;
    json_t *event = NULL;
    caller_init(&person);
    enum tp_err err = json_need_text(call->params, "user", &want.name, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "tls_pub_key", &want.tls_pub, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "ssh_pub_key", &want.ssh_pub, &error);
    }
    want.ttl_ms = json_get_int(call->params, "ttl", 0);
    if (err == TP_OK && want.ttl_ms < 0) {
        err = err_set(&error, TP_INVALID, "ttl must not be negative");
    }
    if (err == TP_OK) {
        err = caller_become_user(auth, want.name, NULL, NULL, &person, &error);
        if (err == TP_UNAUTHENTICATED) {
            err = err_set(&error, TP_NOT_FOUND, "there is no user \"%s\"", want.name);
        }
    }
    if (err == TP_OK) {
        want.roles = person.roles;
        want.traits = person.traits;
        err = issue_user_certs(auth, &want, &result, &event, &error);
    }
    caller_free(&person);
    answer(call, err, event, result, &error);
}

/* For a host that runs OpenSSH's sshd or a service of its own: it gets names, but no registration, so its certificate
 * opens nothing here. */
void do_certs_host(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    char id[UUID_TEXT_SIZE];
    json_t *names = json_object_get(call->params, "names");
    json_t *result = NULL;
    json_t *event = NULL;
    struct issue_host want = {.host_id = id, .roles = TOKEN_NODE, .additional = names};
    crypt_uuid(id);
    enum tp_err err = doc_text_list(names, "names", 32, &error);
    if (err == TP_OK && json_array_size(names) == 0) {
        err = err_set(&error, TP_INVALID, "a host certificate needs a name");
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "tls_pub_key", &want.tls_pub, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "ssh_pub_key", &want.ssh_pub, &error);
    }
    if (err == TP_OK) {
        want.name = json_string_value(json_array_get(names, 0));
        err = issue_host_certs(auth, &want, &result, &event, &error);
    }
    answer(call, err, event, result, &error);
}
