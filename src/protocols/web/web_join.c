/* Hosts that join by the web UI: a token, the script that uses it, the programs that the script installs. */
#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define TOKEN_TTL_MS ((int64_t)4 * 60 * 60 * 1000)
#define LABELS_MAX 50
#define LABEL_NAME_MAX 128
#define LABEL_VALUE_MAX 256
#define TOKEN_MAX 128

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
/* What may stand in the script at all: none of it means anything to a shell inside of single quotes, and none of the
 * labels' to the flag --labels (no comma, quote or bracket). */
#define CHARS_TOKEN LETTERS DIGITS "_.-"
#define CHARS_LABEL_NAME LETTERS DIGITS "_./:-"
#define CHARS_LABEL_VALUE LETTERS DIGITS "_./:@+=- "
#define CHARS_LABELS CHARS_LABEL_VALUE ","
#define CHARS_ADDRESS LETTERS DIGITS ".:[]-"
#define CHARS_CLUSTER LETTERS DIGITS "._-"
#define CHARS_PINS "abcdef" DIGITS "sha:,"
#define CHARS_CERT LETTERS DIGITS "+/=- \n"
#define CHARS_SUMS LETTERS DIGITS "- \n"

#if defined(__x86_64__)
#define ARCHITECTURE "x86_64"
#elif defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#else
#error "say here what uname -m says on this machine"
#endif

extern const char web_install_script[]; /* web_assets.S: install-node.sh */
extern const uint64_t web_install_script_size;

static bool consists_of(const char *text, const char *chars, size_t least, size_t most)
{
    size_t length = strlen(text);
    return length >= least && length <= most && strspn(text, chars) == length;
}

/* One label as the script can carry it. */
static enum tp_err check_label(const char *name, const char *value, struct tp_error *error)
{
    if (!consists_of(name, CHARS_LABEL_NAME, 1, LABEL_NAME_MAX))
        return err_set(error, TP_INVALID, "the label name \"%.60s\" may hold letters, digits and _./:- only", name);
    if (!consists_of(value, CHARS_LABEL_VALUE, 0, LABEL_VALUE_MAX))
        return err_set(error, TP_INVALID,
                       "the value of label \"%.60s\" may hold letters, digits, blanks and _./:@+=- only", name);
    return TP_OK;
}

/* ---- tokens ---- */

/* Teleport's [{"name","value"}] or a map. */
static enum tp_err read_labels(const json_t *given, json_t *labels, struct tp_error *error)
{
    size_t i;
    json_t *item;
    const char *name;
    enum tp_err err = TP_OK;
    json_array_foreach (given, i, item) {
        name = json_get_text(item, "name", "");
        if (err == TP_OK)
            err = check_label(name, json_get_text(item, "value", ""), error);
        if (err == TP_OK && json_object_get(labels, name))
            err = err_set(error, TP_INVALID, "the label \"%.60s\" is there twice", name);
        if (err == TP_OK)
            json_object_set_new(labels, name, json_string(json_get_text(item, "value", "")));
    }
    json_object_foreach ((json_t *)(uintptr_t)given, name, item) {
        if (err == TP_OK)
            err = json_is_string(item) ? check_label(name, json_string_value(item), error)
                                       : err_set(error, TP_INVALID, "the label \"%.60s\" must be text", name);
        if (err == TP_OK)
            json_object_set(labels, name, item);
    }
    if (err == TP_OK && json_object_size(labels) > LABELS_MAX)
        err = err_set(error, TP_INVALID, "at most %d labels", LABELS_MAX);
    return err;
}

/* {roles [], suggested_labels, ttl (ms; 4 h)}. The value is always a new random one. */
enum tp_err web_token_add_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    json_t *roles = json_object_get(request->body, "roles");
    const char *method = json_get_text(request->body, "join_method", "token");
    json_t *labels = json_object();
    enum tp_err err = TP_OK;
    *ret_params = NULL;
    if (json_array_size(roles) == 0)
        err = err_set(error, TP_INVALID, "say in \"roles\" what the token is for: node, kube or both");
    else if (strcmp(method, "token") != 0)
        err = err_set(error, TP_INVALID, "join method \"%.60s\" is not supported; use \"token\"", method);
    if (err == TP_OK)
        err = read_labels(json_object_get(request->body, "suggested_labels"), labels, error);
    if (err != TP_OK) {
        json_decref(labels);
        return err;
    }
    *ret_params = json_pack("{s:O, s:I, s:o}", "roles", roles, "ttl",
                            (json_int_t)json_get_int(request->body, "ttl", TOKEN_TTL_MS), "labels", labels);
    return TP_OK;
}

void web_token_add_finish(struct web_request *request, json_t *result)
{
    const struct web_options *options = web_options(request);
    json_t *pins = json_object_get(result, "ca_pins");
    json_t *labels = json_object_get(request->body, "suggested_labels");
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:O, s:o, s:s, s:b}", "id", json_get_text(result, "token", ""), "expiry",
                              json_get_text(result, "expires", ""), "suggestedLabels", labels ? labels : json_null(),
                              "caPins", pins ? json_incref(pins) : json_array(), "proxy", options->public_addr,
                              "ownCertificate", options->own_certificate));
}

enum tp_err web_joined_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    *ret_params = json_pack("{s:s}", "token", request->params[0]);
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the token is not UTF-8");
}

void web_items_of_hosts_finish(struct web_request *request, json_t *result)
{
    json_t *hosts = json_object_get(result, "hosts");
    web_answer_json(request, 200, json_pack("{s:o}", "items", hosts ? json_incref(hosts) : json_array()));
}

/* ---- the script ---- */

enum tp_err web_script_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    if (!consists_of(request->params[0], CHARS_TOKEN, 1, TOKEN_MAX))
        return err_set(error, TP_DENIED, "no token");
    *ret_params = json_pack("{s:s}", "token", request->params[0]);
    return TP_OK;
}

/* The same words for every token that is not good (R16); what is said otherwise depends on no token. */
void web_script_failed(struct web_request *request, const struct tp_error *error)
{
    if (error->code == TP_LIMIT)
        web_answer_plain(request, 429, "Too many attempts from your address; try again in a minute.\n");
    else if (error->code == TP_UNAVAILABLE || error->code == TP_TIMEOUT || error->code == TP_CLOSED)
        web_answer_plain(request, 503, "The proxy is not ready; try again in a moment.\n");
    else
        web_answer_plain(request, 404, "There is nothing here: the link is wrong or has expired. Make a new one.\n");
}

/* NAME='VALUE' on a line of its own. A value with other than the expected characters does not get in; what does is quoted
 * all the same. */
static enum tp_err assign(struct buf *out, const char *name, const char *value, const char *chars)
{
    if (strspn(value, chars) != strlen(value))
        return TP_INVALID;
    (void)buf_printf(out, "%s='", name);
    for (const char *p = value; *p; p++)
        (void)(*p == '\'' ? buf_append_text(out, "'\\''") : buf_append(out, p, 1));
    return buf_append_text(out, "'\n");
}

enum tp_err web_host_cas(struct buf *out, const json_t *result)
{
    json_t *signer;
    json_t *pem;
    size_t i;
    size_t k;
    json_array_foreach (json_object_get(result, "host_signers"), i, signer) {
        json_array_foreach (json_object_get(signer, "tls_certs"), k, pem) {
            if (dec_base64(json_string_value(pem), json_string_length(pem), out) != TP_OK)
                return TP_INVALID;
        }
    }
    return buf_size(out) > 0 ? TP_OK : TP_INVALID;
}

/* Without the last newline, as a shell reads it back. */
static enum tp_err assign_cas(struct buf *out, const json_t *result)
{
    struct buf pem;
    enum tp_err err;
    char *text;
    size_t length;
    buf_init(&pem, 0);
    err = web_host_cas(&pem, result);
    text = buf_take(&pem);
    if (err == TP_OK) {
        length = strlen(text);
        while (length > 0 && text[length - 1] == '\n')
            text[--length] = '\0';
        err = assign(out, "CA", text, CHARS_CERT);
    }
    mem_free(text);
    return err;
}

static enum tp_err assign_pins(struct buf *out, const json_t *result)
{
    struct buf pins;
    enum tp_err err;
    json_t *pin;
    size_t i;
    buf_init(&pins, 0);
    json_array_foreach (json_object_get(result, "ca_pins"), i, pin)
        (void)buf_printf(&pins, "%s%s", i > 0 ? "," : "", json_string_value(pin));
    err = assign(out, "PINS", buf_text(&pins), CHARS_PINS);
    buf_free(&pins);
    return err;
}

/* Each label is checked by itself: a comma in one would make two of it. */
static enum tp_err assign_labels(struct buf *out, const json_t *result, struct tp_error *error)
{
    struct buf labels;
    enum tp_err err = TP_OK;
    const char *name;
    json_t *value;
    buf_init(&labels, 0);
    json_object_foreach (json_object_get(result, "labels"), name, value) {
        if (err == TP_OK)
            err = check_label(name, json_string_value(value), error);
        if (err == TP_OK)
            (void)buf_printf(&labels, "%s%s=%s", buf_size(&labels) > 0 ? "," : "", name, json_string_value(value));
    }
    if (err == TP_OK)
        err = assign(out, "LABELS", buf_text(&labels), CHARS_LABELS);
    buf_free(&labels);
    return err;
}

static enum tp_err assign_sums(struct buf *out, const struct web_request *request, struct tp_error *error)
{
    struct buf sums;
    size_t count = 0;
    const struct web_file *files = web_files(request, &count);
    enum tp_err err;
    if (count < WEB_FILES_MAX)
        return err_set(error, TP_NOT_FOUND, "programs are missing beside the proxy's tportd; its log names them");
    buf_init(&sums, 0);
    for (size_t i = 0; i < count; i++)
        (void)buf_printf(&sums, "%s%s  %s", i > 0 ? "\n" : "", files[i].sha256, files[i].name);
    err = assign(out, "SUMS", buf_text(&sums), CHARS_SUMS);
    buf_free(&sums);
    return err;
}

/* Assignments, then the text that is the same for all. The token is good: what is wrong now may be said. */
static enum tp_err write_script(struct buf *out, struct web_request *request, const json_t *result,
                                struct tp_error *error)
{
    const struct web_options *options = web_options(request);
    const struct {
        const char *name;
        const char *value;
        const char *chars;
    } rows[] = {{"PROXY", options->public_addr, CHARS_ADDRESS},
                {"CLUSTER", options->cluster_name, CHARS_CLUSTER},
                {"TOKEN", request->params[0], CHARS_TOKEN},
                {"ARCH", ARCHITECTURE, CHARS_CLUSTER}};
    (void)buf_append_text(out, "#!/bin/sh\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (assign(out, rows[i].name, rows[i].value, rows[i].chars) != TP_OK)
            return err_set(error, TP_INVALID, "%s of this cluster holds characters that a script cannot carry",
                           rows[i].name);
    }
    if (assign_pins(out, result) != TP_OK || assign_cas(out, result) != TP_OK)
        return err_set(error, TP_INTERNAL, "the cluster's certificates cannot be read");
    if (assign_labels(out, result, error) != TP_OK || assign_sums(out, request, error) != TP_OK)
        return error->code;
    return buf_append(out, web_install_script, (size_t)web_install_script_size);
}

void web_script_finish(struct web_request *request, json_t *result)
{
    struct tp_error error = {0};
    struct buf script;
    buf_init(&script, 0);
    if (write_script(&script, request, result, &error) == TP_OK)
        web_answer_plain(request, 200, buf_text(&script));
    else
        web_answer_error(request, &error);
    buf_wipe(&script);
}

void web_program_finish(struct web_request *request, json_t *result)
{
    size_t count = 0;
    const struct web_file *files = web_files(request, &count);
    (void)result;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(files[i].name, request->params[1]) == 0) {
            web_answer_file(request, &files[i]);
            return;
        }
    }
    web_answer_plain(request, 404, "There is no such program here.\n");
}
