/* Who can reach what: the query goes to auth as it is, as far as auth knows it, and the answer comes as auth gives it. */
#include "protocols/web/web_priv.h"

static enum tp_err pass(struct web_request *request, const char *const names[], json_t **ret_params,
                        struct tp_error *error)
{
    enum tp_err err = web_check_cluster(request, error);
    if (err != TP_OK)
        return err;
    *ret_params = json_object();
    for (size_t i = 0; names[i]; i++) {
        const char *value = http_request_param(web_http(request), names[i]);
        if (value && *value)
            json_object_set_new(*ret_params, names[i], json_string(value));
    }
    return TP_OK;
}

enum tp_err web_reach_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const names[] = {"user", "role", "kind", "search", NULL};
    return pass(request, names, ret_params, error);
}

enum tp_err web_explain_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const names[] = {"user", "verb", "kind", "name", "login", "group", NULL};
    return pass(request, names, ret_params, error);
}

void web_pass_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200, json_incref(result));
}
