/* What the web UI asks about the person who is signed in. */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

void web_motd_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200, json_pack("{s:s}", "text", json_get_text(result, "message_of_the_day", "")));
}

enum tp_err web_context_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    *ret_params = NULL;
    return web_check_cluster(request, error);
}

/* Teleport's shape of a user's context; roles and motd are ours. */
void web_context_finish(struct web_request *request, json_t *result)
{
    const struct web_options *options = web_options(request);
    json_t *acl = json_object_get(result, "acl");
    json_t *roles = json_object_get(result, "roles");
    web_answer_json(request, 200,
                    json_pack("{s:I, s:s, s:s, s:O, s:O, s:s, s:{s:s, s:s, s:s, s:s}}", "idleTimeout",
                              (json_int_t)json_get_int(result, "idle_timeout", 0), "authType", "local", "userName",
                              json_get_text(result, "user", ""), "userAcl", acl, "roles", roles, "motd",
                              json_get_text(result, "motd", ""), "cluster", "name", options->cluster_name, "publicURL",
                              options->public_addr, "version", options->server_version, "status", "online"));
}

/* The signed note of the log, and the key that verifies it. */
void web_checkpoint_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s}", "checkpoint", json_get_text(result, "checkpoint", ""), "key",
                              json_get_text(result, "key", "")));
}

/* The password: in base64, as Teleport's web API has it. */
enum tp_err web_own_password_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    json_t *old = web_base64_text(request->body, "old_password");
    json_t *fresh = web_base64_text(request->body, "new_password");
    if (!old || !fresh) {
        json_decref(old);
        json_decref(fresh);
        return err_set(error, TP_INVALID, "\"old_password\" and \"new_password\" must be passwords in base64");
    }
    *ret_params = json_pack("{s:o, s:o, s:s}", "old", old, "new", fresh, "code",
                            json_get_text(request->body, "second_factor_token", ""));
    return TP_OK;
}

/* Devices of one-time codes. */

/* The seed of a device that is about to be added, also as a picture. */
void web_device_new_finish(struct web_request *request, json_t *result)
{
    char *image = web_qr_base64(json_get_text(result, "otpauth", ""));
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:s}", "qrCode", image ? image : "", "secret",
                              json_get_text(result, "secret", ""), "expires", json_get_text(result, "expires", "")));
    secret_free(image);
}

enum tp_err web_device_add_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    (void)error;
    *ret_params =
        json_pack("{s:s, s:s, s:s}", "name", json_get_text(body, "deviceName", ""), "new_code",
                  json_get_text(body, "new_code", ""), "code", json_get_text(body, "second_factor_token", ""));
    return TP_OK;
}

/* Renaming (with deviceName) and removing: the device is in the path. */
enum tp_err web_device_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    *ret_params = json_pack("{s:s, s:s, s:s}", "id", request->params[0], "name", json_get_text(body, "deviceName", ""),
                            "code", json_get_text(body, "second_factor_token", ""));
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the id is not UTF-8");
}

/* Web sessions; "others" stands for all but the one that asks. */
enum tp_err web_own_session_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    *ret_params = strcmp(request->params[0], "others") == 0 ? json_pack("{s:b}", "others", 1)
                                                            : json_pack("{s:s}", "id", request->params[0]);
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the id is not UTF-8");
}
