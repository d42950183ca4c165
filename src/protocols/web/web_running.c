/* Running sessions for web sessions, in the shape of Teleport's web API (behaviour.md 12.5), with what our pages need beside
 * it. Which sessions are listed, and what may be done with each, says auth. */
#include "protocols/web/web_priv.h"

#include <string.h>

enum tp_err web_running_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    json_t *params = json_object();
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        err = web_put_list(web_http(request), "started:desc", params, error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    *ret_params = params;
    return TP_OK;
}

static json_t *running_item(const json_t *session)
{
    static const struct {
        const char *from;
        const char *to;
    } members[] = {{"id", "id"},
                   {"login", "login"},
                   {"started", "created"},
                   {"host_id", "server_id"},
                   {"hostname", "hostname"},
                   {"kubernetes_cluster", "kubernetes_cluster_name"},
                   {"user", "user"},
                   {"client_addr", "addr"},
                   {"valid_until", "valid_until"},
                   {"web", "web"},
                   {"may_end", "may_end"},
                   {"channels", "channels"}};
    bool kube = strcmp(json_get_text(session, "kind", ""), "kube") == 0;
    json_t *item = json_pack("{s:s, s:[{s:s}], s:o}", "kind", kube ? "k8s" : "ssh", "parties", "user",
                             json_get_text(session, "user", ""), "participantModes",
                             json_get_bool(session, "may_watch", false) ? json_pack("[s]", "observer") : json_array());
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(session, members[i].from);
        if (value)
            json_object_set(item, members[i].to, value);
    }
    return item;
}

void web_running_finish(struct web_request *request, json_t *result)
{
    json_t *items = json_array();
    json_t *session;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, session)
        json_array_append_new(items, running_item(session));
    web_answer_json(request, 200,
                    json_pack("{s:o, s:s, s:I}", "items", items, "startKey", json_get_text(result, "start_key", ""),
                              "totalCount", (json_int_t)json_get_int(result, "total", 0)));
}

/* {"reason"}: shown to the person who is cut off. */
enum tp_err web_running_end_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    enum tp_err err = web_check_cluster(request, error);
    if (err != TP_OK)
        return err;
    *ret_params =
        json_pack("{s:s, s:s}", "sid", request->params[1], "reason", json_get_text(request->body, "reason", ""));
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the id is not UTF-8");
}
