/*
 * Reports and renewals of hosts as their keys have signed them (crypt/report.h). A host that has signed once is heard no more
 * without: else a worker would only have to leave the signature out. What it said before is not taken for news.
 */
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "crypt/report.h"

#include <string.h>

#define AHEAD_MS ((int64_t)10 * 60 * 1000) /* of auth's clock; who is further ahead takes no grant of auth's either */

/* Is that the key which the host registered with? */
static bool is_its_key(struct auth *auth, const char *id, const char *pem)
{
    json_t *doc = NULL;
    char hash[HASH_TEXT_SIZE];
    struct tp_error none = {0};
    doc_hash(pem, hash);
    bool same = doc_find(auth->state, "/host/", id, &doc, NULL, &none) == TP_OK &&
                strcmp(hash, json_get_text(doc, "key", "")) == 0;
    json_decref(doc);
    return same;
}

enum tp_err host_report_open(struct call *call, struct host *host, struct host_report *ret_report,
                             struct tp_error *error)
{
    json_t *said = NULL;
    *ret_report = (struct host_report){0};
    if (call->caller.local_agent) {
        return TP_OK; /* no worker is between us */
    }
    enum tp_err err = report_open(call->params, host->id, call->method->name, &said, &ret_report->issued_ms, error);
    if (err == TP_NOT_FOUND && host->report_ms == 0) {
        return TP_OK; /* an agent of before */
    }
    if (err == TP_NOT_FOUND) {
        return err_set(
            error, TP_DENIED,
            "this host signs what it says, and this is not signed; if its tportd was replaced by an older one, "
            "remove the host with `tportctl rm node/%s` and join it again",
            host->id);
    }
    if (err == TP_OK && !is_its_key(call->auth, host->id, json_get_text(call->params, "tls_pub_key", ""))) {
        json_decref(said);
        return err_set(error, TP_DENIED, "the report is signed with another key than the host's");
    }
    if (err == TP_OK) {
        char *text = json_text(said);
        doc_hash(text, ret_report->hash);
        mem_free(text);
        json_decref(call->params);
        call->params = said;
    }
    return err;
}

enum tp_err host_report_is_news(const struct host *host, const struct host_report *report, struct tp_error *error)
{
    if (report->issued_ms == 0 || strcmp(report->hash, host->report_hash) == 0) {
        return TP_OK;
    }
    /* Else it would not be heard when its clock is right again, for as long as that was ahead. */
    int64_t now = clock_wall_ms();
    if (report->issued_ms > now && report->issued_ms - now > AHEAD_MS) {
        return err_set(error, TP_DENIED,
                       "the clock of this host is %lld minutes ahead of auth's; what is new about it is heard when "
                       "they agree",
                       (long long)(report->issued_ms - now) / 60000);
    }
    if (report->issued_ms > host->report_ms) {
        return TP_OK;
    }
    return err_set(error, TP_DENIED,
                   "this report is older than the last one of this host; if the host's clock was set back, it is heard "
                   "again when the clock has caught up");
}

enum tp_err host_report_keep(struct auth *auth, struct host *host, const struct host_report *report,
                             struct tp_error *error)
{
    if (report->issued_ms == 0 || strcmp(report->hash, host->report_hash) == 0) {
        return TP_OK;
    }
    json_t *doc = json_pack("{s:I, s:s}", "issued", (json_int_t)report->issued_ms, "hash", report->hash);
    enum tp_err err = doc_put(auth->state, "/host_report/", host->id, doc, STORE_ANY, NULL, error);
    json_decref(doc);
    if (err == TP_OK) {
        host->report_ms = report->issued_ms;
        snprintf(host->report_hash, sizeof host->report_hash, "%s", report->hash);
    }
    return err;
}

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = hosts_get(ctx, name);
    (void)revision;
    if (host != NULL) {
        host->report_ms = json_get_int(doc, "issued", 0);
        snprintf(host->report_hash, sizeof host->report_hash, "%s", json_get_text(doc, "hash", ""));
    }
    return true;
}

enum tp_err host_reports_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->state, "/host_report/", NULL, load_one, auth, error);
}
