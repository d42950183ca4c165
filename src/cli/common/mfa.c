#include "cli/common/mfa.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/table.h"
#include "cli/common/term.h"
#include "crypt/key.h"

#include <string.h>

#define TRIES 3

void mfa_cert_free(struct mfa_cert *cert)
{
    secret_free(cert->key);
    mem_free(cert->cert);
    *cert = (struct mfa_cert){0};
}

static json_t *target_params(const struct mfa_target *target)
{
    json_t *params = json_object();
    if (target->node)
        (void)json_object_set_new(params, "target", json_string(target->node));
    if (target->login)
        (void)json_object_set_new(params, "login", json_string(target->login));
    if (target->kube)
        (void)json_object_set_new(params, "kube_cluster", json_string(target->kube));
    return params;
}

enum tp_err mfa_ask_need(struct api *api, const struct mfa_target *target, struct mfa_need *ret_need,
                         struct tp_error *error)
{
    json_t *answer = NULL;
    enum tp_err err = api_rpc(api, "mfa.required", target_params(target), &answer, error);
    *ret_need = (struct mfa_need){.required = err == TP_OK && json_get_bool(answer, "required", false),
                                  .offline = err == TP_OK && json_get_bool(answer, "offline", false)};
    json_decref(answer);
    return err;
}

bool mfa_required(struct api *api, const struct mfa_target *target)
{
    struct mfa_need need;
    struct tp_error ignored = {0};
    return mfa_ask_need(api, target, &need, &ignored) == TP_OK && need.required;
}

bool mfa_required_now(const struct profile *profile, const struct mfa_target *target)
{
    struct api *api = NULL;
    struct tp_error ignored = {0};
    bool required = api_open_profile(profile, &api, &ignored) == TP_OK && mfa_required(api, target);
    api_close(api);
    return required;
}

static enum tp_err ask_code(const struct mfa_target *target, int watch, char **ret_code, struct tp_error *error)
{
    enum tp_err err = term_ask_tty("Enter an OTP code from a device:", false, watch, ret_code, error);
    if (err == TP_NOT_FOUND)
        err = err_set(error, TP_MFA_NEEDED,
                      "%s needs a one-time code before each session, and there is no terminal to ask for it; run this "
                      "at a terminal",
                      target->node ? target->node : target->kube);
    return err;
}

/* The certificate for a code, or TP_INVALID when the code was wrong. */
static enum tp_err redeem(struct api *api, const struct mfa_target *target, const char *code, const char *public_key,
                          struct mfa_cert *ret_cert, struct tp_error *error)
{
    json_t *params = target_params(target);
    json_t *answer = NULL;
    const char *cert = NULL;
    const char *until = NULL;
    int64_t until_ms = 0;
    (void)json_object_set_new(params, "otp_token", json_string(code));
    (void)json_object_set_new(params, "tls_pub_key", json_string(public_key));
    enum tp_err err = api_rpc(api, "mfa.session", params, &answer, error);
    if (err == TP_OK)
        err = json_need_text(answer, "tls_cert", &cert, error);
    if (err == TP_OK)
        err = json_need_text(answer, "valid_until", &until, error);
    if (err == TP_OK && clock_parse_ms(until, &until_ms) != TP_OK)
        err = err_set(error, TP_PROTOCOL, "the proxy's answer holds no time");
    if (err == TP_OK) {
        ret_cert->cert = mem_strdup(cert);
        ret_cert->not_after = until_ms / 1000;
    }
    json_decref(answer);
    return err;
}

static void tell_wrong(const struct tp_error *error)
{
    char *safe = text_safe(error->text);
    char *line = mem_printf("%s; a code is good once, so wait for the next one if you have just used it", safe);
    term_tell(line);
    mem_free(line);
    mem_free(safe);
}

enum tp_err mfa_ask(const struct profile *profile, const struct mfa_target *target, int watch,
                    struct mfa_cert *ret_cert, struct tp_error *error)
{
    struct api *api = NULL;
    struct key *key = key_generate(KEY_P256);
    char *public_key = key_public_pem(key);
    *ret_cert = (struct mfa_cert){.key = key_to_pem(key)};
    enum tp_err err = api_open_profile(profile, &api, error);
    for (int i = 0; err == TP_OK && ret_cert->cert == NULL; i++) {
        char *code = NULL;
        err = ask_code(target, watch, &code, error);
        if (err == TP_OK)
            err = redeem(api, target, code, public_key, ret_cert, error);
        secret_free(code);
        if (err == TP_INVALID && i + 1 < TRIES) {
            tell_wrong(error);
            err = TP_OK;
        }
    }
    if (err != TP_OK)
        mfa_cert_free(ret_cert);
    mem_free(public_key);
    key_free(key);
    api_close(api);
    return err;
}
