/* The JSON API: what the proxy is, signing in, invitations, joining, calls with a certificate. */
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define AGENT_MAX 256 /* bytes of a browser's name for itself */

static json_t *host_list(const struct web_options *options)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "listen_addr", options->listen_addr, "tunnel_listen_addr",
                     options->listen_addr, "web_listen_addr", options->listen_addr, "public_addr", options->public_addr,
                     "ssh_public_addr", options->public_addr, "ssh_tunnel_public_addr", options->public_addr,
                     "dial_timeout", (json_int_t)30000000000);
}

static void answer_ping(struct web_request *request, json_t *result, bool with_auth)
{
    const struct web_options *options = web_options(request);
    json_t *json = json_object();
    json_t *auth = json_object_get(result, "auth");
    if (with_auth && auth)
        json_object_set(json, "auth", auth);
    json_object_set_new(json, "proxy",
                        json_pack("{s:{s:b, s:s, s:s}, s:o, s:{}, s:b}", "kube", "enabled", 1, "public_addr",
                                  options->public_addr, "listen_addr", options->listen_addr, "ssh", host_list(options),
                                  "db", "tls_routing_enabled", 1));
    json_object_set_new(json, "server_version", json_string(options->server_version));
    json_object_set_new(json, "min_client_version", json_string(options->server_version));
    json_object_set_new(json, "cluster_name",
                        json_string(json_get_text(result, "cluster_name", options->cluster_name)));
    json_object_set_new(json, "automatic_upgrades", json_false());
    json_object_set_new(json, "edition", json_string("community"));
    json_object_set_new(json, "fips", json_false());
    web_answer_json(request, 200, json);
}

void web_ping_finish(struct web_request *request, json_t *result)
{
    answer_ping(request, result, true);
}

void web_find_finish(struct web_request *request, json_t *result)
{
    answer_ping(request, result, false);
}

/* The same for everybody: an answer that depended on the user would tell strangers who exists. */
void web_mfa_begin_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_json(request, 200, json_pack("{s:b}", "totp_challenge", 1));
}

static const char *first_text(const json_t *body, const char *a, const char *b, const char *c)
{
    const char *text = json_get_text(body, a, NULL);
    if (!text && b)
        text = json_get_text(body, b, NULL);
    if (!text && c)
        text = json_get_text(body, c, NULL);
    return text;
}

/* A key as it is, or in base64 as Go writes bytes. */
static enum tp_err put_key(json_t *params, const char *name, const char *text, struct tp_error *error)
{
    struct buf plain;
    enum tp_err err = TP_OK;
    if (!text)
        return err_set(error, TP_INVALID, "\"%s\" is missing", name);
    if (strchr(text, ' ') || strncmp(text, "-----BEGIN", 10) == 0) {
        json_object_set_new(params, name, json_string(text));
        return TP_OK;
    }
    buf_init(&plain, 64 * 1024);
    err = dec_base64(text, strlen(text), &plain);
    if (err == TP_OK &&
        json_object_set_new(params, name, json_stringn((const char *)buf_head(&plain), buf_size(&plain))) != 0)
        err = TP_INVALID;
    buf_free(&plain);
    return err == TP_OK ? TP_OK : err_set(error, TP_INVALID, "\"%s\" is neither a public key nor one in base64", name);
}

enum tp_err web_login_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    const char *user = json_get_text(body, "user", "");
    const char *password = first_text(body, "password", "pass", NULL);
    const char *code = first_text(body, "totp_code", "otp_token", "second_factor_token");
    json_t *params = json_pack("{s:s, s:s, s:s, s:I}", "user", user, "password", password ? password : "", "otp_token",
                               code ? code : "", "ttl", (json_int_t)(json_get_int(body, "ttl", 0) / 1000000));
    enum tp_err err = put_key(params, "ssh_pub_key", first_text(body, "ssh_pub_key", "pub_key", NULL), error);
    if (err == TP_OK)
        err = put_key(params, "tls_pub_key", json_get_text(body, "tls_pub_key", NULL), error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    *ret_params = params;
    return TP_OK;
}

static void set_base64(json_t *json, const char *name, const char *text)
{
    char *encoded = enc_base64(text, strlen(text));
    json_object_set_new(json, name, json_string(encoded));
    mem_free(encoded);
}

void web_login_finish(struct web_request *request, json_t *result)
{
    static const char *const kube[] = {"kubernetes_users", "kubernetes_groups"};
    json_t *json = json_object();
    json_object_set_new(json, "username", json_string(json_get_text(result, "username", "")));
    set_base64(json, "cert", json_get_text(result, "cert", ""));
    set_base64(json, "tls_cert", json_get_text(result, "tls_cert", ""));
    json_object_set_new(json, "valid_until", json_string(json_get_text(result, "valid_until", "")));
    if (json_object_get(result, "host_signers"))
        json_object_set(json, "host_signers", json_object_get(result, "host_signers"));
    else
        json_object_set_new(json, "host_signers", json_array());
    json_object_set_new(json, "session_mfa", json_string(json_get_text(result, "session_mfa", "")));
    for (size_t i = 0; i < sizeof(kube) / sizeof(kube[0]); i++) {
        json_t *list = json_object_get(result, kube[i]);
        json_object_set_new(json, kube[i], list ? json_incref(list) : json_array());
    }
    web_answer_json(request, 200, json);
}

/* The second factor of a terminal, or of who watches a session (sid): in place of a certificate. */
enum tp_err web_mfa_session_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const char *code = first_text(request->body, "totp_code", "otp_token", "second_factor_token");
    const char *sid = json_get_text(request->body, "sid", "");
    const char *server = json_get_text(request->body, "server_id", "");
    (void)error;
    *ret_params = json_pack("{s:s}", "otp_token", code ? code : "");
    if (*sid)
        json_object_set_new(*ret_params, "session", json_string(sid));
    if (*server || !*sid)
        json_object_set_new(*ret_params, "target", json_string(server));
    return TP_OK;
}

void web_mfa_session_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200, json_pack("{s:s}", "valid_until", json_get_text(result, "valid_until", "")));
}

enum tp_err web_session_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    const char *password = first_text(body, "pass", "password", NULL);
    const char *code = first_text(body, "second_factor_token", "totp_code", "otp_token");
    const char *agent = http_request_header(web_http(request), "user-agent");
    (void)error;
    *ret_params = json_pack("{s:s, s:s, s:s}", "user", json_get_text(body, "user", ""), "password",
                            password ? password : "", "otp_token", code ? code : "");
    if (agent && strlen(agent) <= AGENT_MAX) /* one that is not UTF-8 is left out */
        (void)json_object_set_new(*ret_params, "user_agent", json_string(agent));
    return TP_OK;
}

void web_session_finish(struct web_request *request, json_t *result)
{
    const char *expires = json_get_text(result, "expires", "");
    char *value = web_cookie_session_text(json_get_text(result, "user", ""), json_get_text(result, "sid", ""));
    char *cookie = mem_printf("%s=%s; Path=/; Secure; HttpOnly; SameSite=Lax", WEB_SESSION_COOKIE, value);
    int64_t until = 0;
    int64_t left = 0;
    if (clock_parse_ms(expires, &until) == TP_OK && until > clock_wall_ms())
        left = (until - clock_wall_ms()) / 1000;
    web_answer_json_cookie(request, 200,
                           json_pack("{s:s, s:s, s:I, s:s, s:I}", "type", "bearer", "token",
                                     json_get_text(result, "token", ""), "expires_in", (json_int_t)left,
                                     "sessionExpires", expires, "sessionInactiveTimeout",
                                     (json_int_t)json_get_int(result, "idle_timeout", 0)),
                           cookie);
    secret_free(value);
    secret_free(cookie);
}

void web_session_end_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_json_cookie(request, 200, json_pack("{s:s}", "message", "ok"),
                           WEB_SESSION_COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
}

/* Invitations and resets. */

enum tp_err web_token_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    (void)error;
    *ret_params = json_pack("{s:s}", "token", request->params[0]);
    return TP_OK;
}

void web_token_finish(struct web_request *request, json_t *result)
{
    char *image = web_qr_base64(json_get_text(result, "otpauth", ""));
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:s}", "tokenId", request->params[0], "qrCode", image ? image : "", "user",
                              json_get_text(result, "user", "")));
    secret_free(image);
}

json_t *web_base64_text(const json_t *body, const char *key)
{
    const char *given = json_get_text(body, key, "");
    json_t *text = NULL;
    struct buf plain;
    buf_init(&plain, 4096);
    if (dec_base64(given, strlen(given), &plain) == TP_OK && !memchr(buf_head(&plain), '\0', buf_size(&plain)))
        text = json_stringn((const char *)buf_head(&plain), buf_size(&plain));
    buf_wipe(&plain);
    return text;
}

enum tp_err web_token_put_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    json_t *text = web_base64_text(body, "password");
    if (!text)
        return err_set(error, TP_INVALID, "\"password\" must be the password in base64");
    *ret_params =
        json_pack("{s:s, s:o, s:s, s:s}", "token", json_get_text(body, "token", ""), "password", text, "code",
                  json_get_text(body, "second_factor_token", ""), "device_name", json_get_text(body, "deviceName", ""));
    return TP_OK;
}

void web_token_put_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_json(request, 200, json_pack("{s:b}", "privateKeyPolicyEnabled", 0));
}

/* A host joins: our field names, or Teleport's. */

enum tp_err web_join_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const json_t *body = request->body;
    const char *host_id = first_text(body, "host_id", "hostID", NULL);
    char *role = mem_strdup(json_get_text(body, "role", "node"));
    json_t *names = json_object_get(body, "additional_principals");
    json_t *params;
    enum tp_err err;
    for (char *at = role; *at; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    params = json_pack("{s:s, s:s, s:s, s:s}", "token", json_get_text(body, "token", ""), "host_id",
                       host_id ? host_id : "", "node_name", json_get_text(body, "node_name", ""), "role", role);
    mem_free(role);
    if (json_is_array(names))
        json_object_set(params, "additional_principals", names);
    err = put_key(params, "tls_pub_key", first_text(body, "tls_pub_key", "public_tls_key", NULL), error);
    if (err == TP_OK)
        err = put_key(params, "ssh_pub_key", first_text(body, "ssh_pub_key", "public_ssh_key", NULL), error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    *ret_params = params;
    return TP_OK;
}

void web_join_finish(struct web_request *request, json_t *result)
{
    json_t *json = json_copy(result);
    json_t *ssh_cas = json_array();
    json_t *tls_cas = json_array();
    json_t *signer;
    size_t i;
    json_array_foreach (json_object_get(result, "host_signers"), i, signer) {
        json_t *item;
        size_t j;
        json_array_foreach (json_object_get(signer, "checking_keys"), j, item) {
            char *encoded = enc_base64(json_string_value(item), json_string_length(item));
            json_array_append_new(ssh_cas, json_string(encoded));
            mem_free(encoded);
        }
        json_array_extend(tls_cas, json_object_get(signer, "tls_certs"));
    }
    set_base64(json, "ssh", json_get_text(result, "ssh_cert", ""));
    set_base64(json, "tls", json_get_text(result, "tls_cert", ""));
    json_object_set_new(json, "ssh_ca_certs", ssh_cas);
    json_object_set_new(json, "tls_ca_certs", tls_cas);
    web_answer_json(request, 200, json);
}

/* Any call of a user, with the certificate of the TLS connection. */

enum tp_err web_rpc_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    if (!web_route_is_user_method(request->params[0]))
        return err_set(error, TP_NOT_FOUND, "there is no such method");
    *ret_params = request->body ? json_incref(request->body) : json_object();
    return TP_OK;
}
