/* The pages: start, invitation, reset. No scripts; what people type comes back by form, secrets never go out again. */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define PASSWORD_MIN 12
#define PASSWORD_MAX 128

enum field { FIELD_NONE, FIELD_PASSWORD, FIELD_REPEAT, FIELD_CODE };

void web_root_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_redirect(request, "/web");
}

static void login_command(struct buf *out, const struct web_options *options, const char *user)
{
    (void)buf_append_text(out, "<pre class=\"command\"><code>tport login <span>--proxy=");
    web_html_text(out, options->public_addr);
    (void)buf_append_text(out, "</span> <span>--user=");
    web_html_text(out, user);
    (void)buf_append_text(out, "</span></code></pre>");
}

/* The link does not lead anywhere (any more). */
static void answer_bad_link(struct web_request *request, const struct tp_error *error)
{
    struct buf page;
    if (error->code != TP_NOT_FOUND && error->code != TP_EXPIRED && error->code != TP_INVALID) {
        web_answer_error(request, error);
        return;
    }
    buf_init(&page, 0);
    web_html_page(
        &page, "Link not valid", web_options(request)->cluster_name,
        "<h1>This link is not valid</h1><p>It has been used already, it has expired, or it was copied "
        "incompletely. Nothing was changed.</p><p>Ask your administrator for a new link. If you have finished "
        "before, you can simply sign in; see the <a href=\"/web\">start page</a>.</p>");
    web_answer_page(request, 404, &page);
}

/* Our sentences start small and end without a full stop, for use in the middle of a line. */
static void add_sentence(struct buf *out, const char *text)
{
    size_t size = strlen(text);
    char first[2] = {text[0], '\0'};
    if (size == 0)
        return;
    if (first[0] >= 'a' && first[0] <= 'z')
        first[0] = (char)(first[0] - 'a' + 'A');
    web_html_text(out, first);
    web_html_text(out, text + 1);
    if (text[size - 1] != '.')
        (void)buf_append_text(out, ".");
}

static void add_error(struct buf *out, enum field here, enum field at, const struct tp_error *error)
{
    if (here != at || error->text[0] == '\0')
        return;
    (void)buf_printf(out, "<p class=\"error\" id=\"error-%d\" role=\"alert\">", (int)here);
    add_sentence(out, error->text);
    (void)buf_append_text(out, "</p>");
}

static void add_input(struct buf *out, enum field field, enum field at, const struct tp_error *error, const char *name,
                      const char *label, const char *attributes, const char *hint)
{
    bool wrong = field == at && error->text[0];
    (void)buf_printf(out, "<div class=\"field%s\"><label for=\"%s\">%s</label>", wrong ? " wrong" : "", name, label);
    if (hint)
        (void)buf_printf(out, "<p class=\"hint\" id=\"hint-%s\">%s</p>", name, hint);
    (void)buf_printf(out, "<input id=\"%s\" name=\"%s\" %s required", name, name, attributes);
    if (hint || wrong) {
        (void)buf_append_text(out, " aria-describedby=\"");
        if (hint)
            (void)buf_printf(out, "hint-%s%s", name, wrong ? " " : "");
        if (wrong)
            (void)buf_printf(out, "error-%d", (int)field);
        (void)buf_append_text(out, "\"");
    }
    (void)buf_append_text(out, wrong ? " aria-invalid=\"true\" autofocus>" : ">");
    add_error(out, field, at, error);
    (void)buf_append_text(out, "</div>");
}

/* "ABCD EFGH ...": easier to type. */
static void add_secret(struct buf *out, const char *secret)
{
    (void)buf_append_text(out, "<code class=\"secret\">");
    for (size_t i = 0; secret[i]; i++) {
        char one[2] = {secret[i], '\0'};
        if (i > 0 && i % 4 == 0)
            (void)buf_append_text(out, " ");
        web_html_text(out, one);
    }
    (void)buf_append_text(out, "</code>");
}

static void add_form(struct buf *out, struct web_request *request, const json_t *invite, enum field at,
                     const struct tp_error *error)
{
    char *image = web_qr_base64(json_get_text(invite, "otpauth", ""));
    add_error(out, FIELD_NONE, at, error);
    (void)buf_append_text(
        out, "<form method=\"post\" autocomplete=\"on\"><input type=\"hidden\" name=\"csrf_token\" value=\"");
    web_html_text(out, web_csrf(request));
    (void)buf_append_text(out, "\"><input type=\"hidden\" name=\"username\" autocomplete=\"username\" value=\"");
    web_html_text(out, json_get_text(invite, "user", ""));
    (void)buf_append_text(out, "\"><section><h2><span class=\"step\">1</span> Choose a password</h2>");
    add_input(out, FIELD_PASSWORD, at, error, "password", "Password",
              "type=\"password\" autocomplete=\"new-password\" minlength=\"12\" maxlength=\"128\"",
              "At least 12 characters. Several words in a row are easy to remember and hard to guess.");
    add_input(out, FIELD_REPEAT, at, error, "repeat", "The same password again",
              "type=\"password\" autocomplete=\"new-password\" minlength=\"12\" maxlength=\"128\"", NULL);
    (void)buf_append_text(out, "</section><section><h2><span class=\"step\">2</span> Set up the second factor</h2>"
                               "<p>Scan this with an authenticator app on your phone, such as FreeOTP, Aegis, Google "
                               "Authenticator or 1Password.</p>");
    if (image) {
        (void)buf_append_text(
            out, "<img class=\"qr\" width=\"220\" height=\"220\" alt=\"QR code for your authenticator app; the "
                 "same secret stands below as text\" src=\"data:image/png;base64,");
        (void)buf_append_text(out, image);
        (void)buf_append_text(out, "\">");
    }
    (void)buf_append_text(out,
                          "<p class=\"hint\">Can't scan? Type this secret into the app (time-based, 6 digits):</p>");
    add_secret(out, json_get_text(invite, "secret", ""));
    add_input(
        out, FIELD_CODE, at, error, "code", "The code that the app shows now",
        "type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\" pattern=\"[0-9 ]{6,7}\" maxlength=\"7\" "
        "class=\"code\"",
        "Six digits; a new one comes every 30 seconds.");
    (void)buf_append_text(out, "</section><button type=\"submit\">Finish</button></form>");
    secret_free(image);
}

static void answer_form(struct web_request *request, int status, const json_t *invite, enum field at,
                        const struct tp_error *error)
{
    bool reset = strcmp(json_get_text(invite, "kind", "invite"), "reset") == 0;
    struct buf body;
    struct buf page;
    buf_init(&body, 0);
    buf_init(&page, 0);
    (void)buf_append_text(&body, reset ? "<h1>Welcome back, " : "<h1>Welcome, ");
    web_html_text(&body, json_get_text(invite, "user", ""));
    (void)buf_append_text(
        &body, reset ? "</h1><p>Your sign-in was reset. Choose a new password and set up your second factor "
                       "again.</p>"
                     : "</h1><p>Two steps, and your account is ready: a password, and a second factor on your "
                       "phone.</p>");
    add_form(&body, request, invite, at, error);
    web_html_page(&page, reset ? "Reset" : "Invitation", web_options(request)->cluster_name, buf_text(&body));
    web_answer_page(request, status, &page);
    buf_wipe(&body);
}

void web_invite_finish(struct web_request *request, json_t *result)
{
    struct tp_error none = {0};
    answer_form(request, 200, result, FIELD_NONE, &none);
}

void web_invite_failed(struct web_request *request, const struct tp_error *error)
{
    answer_bad_link(request, error);
}

/* UTF-8 characters, so that the rule counts what people count. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((uint8_t)*text & 0xc0) != 0x80;
    return count;
}

/* Which field a refusal is about: the sentences of auth and ours name it. */
static enum field field_of(const struct tp_error *error)
{
    if (strstr(error->text, "not the same"))
        return FIELD_REPEAT;
    if (strstr(error->text, "code"))
        return FIELD_CODE;
    if (strstr(error->text, "password"))
        return FIELD_PASSWORD;
    return FIELD_NONE;
}

static enum tp_err check_passwords(const char *password, const char *repeat, struct tp_error *error)
{
    if (characters(password) < PASSWORD_MIN)
        return err_set(error, TP_INVALID, "This password is too short: it needs at least %d characters.", PASSWORD_MIN);
    if (strlen(password) > PASSWORD_MAX)
        return err_set(error, TP_INVALID, "This password is too long: at most %d bytes.", PASSWORD_MAX);
    if (!secret_equal_text(password, repeat))
        return err_set(error, TP_INVALID, "The two entries are not the same; type both again.");
    return TP_OK;
}

/* Blanks that people copy along. */
static void drop_blanks(char *text)
{
    char *to = text;
    for (; *text; text++) {
        if (*text != ' ')
            *to++ = *text;
    }
    *to = '\0';
}

enum tp_err web_form_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    const void *form = buf_head(&http->body);
    size_t size = buf_size(&http->body);
    char *password = NULL;
    char *repeat = NULL;
    char *code = NULL;
    enum tp_err err;
    if (http_form_value(form, size, "password", &password) != TP_OK ||
        http_form_value(form, size, "repeat", &repeat) != TP_OK || http_form_value(form, size, "code", &code) != TP_OK)
        err = err_set(error, TP_INVALID, "The form was incomplete; fill in all fields.");
    else
        err = check_passwords(password, repeat, error);
    if (err == TP_OK) {
        drop_blanks(code);
        if (strlen(code) != 6 || strspn(code, "0123456789") != 6)
            err = err_set(error, TP_INVALID, "The code has six digits; type the one that the app shows now.");
    }
    if (err == TP_OK)
        *ret_params = json_pack("{s:s, s:s, s:s}", "token", request->params[0], "password", password, "code", code);
    secret_free(password);
    secret_free(repeat);
    secret_free(code);
    return err;
}

void web_form_finish(struct web_request *request, json_t *result)
{
    const struct web_options *options = web_options(request);
    struct buf body;
    struct buf page;
    buf_init(&body, 0);
    buf_init(&page, 0);
    (void)buf_append_text(&body,
                          "<h1>You are ready</h1><p>Your password and second factor are set. Sign in from a terminal "
                          "with both:</p>");
    login_command(&body, options, json_get_text(result, "user", ""));
    (void)buf_append_text(&body, "<p>Wait for the next code in the app before you sign in: each code works once.</p>");
    web_html_page(&page, "Ready", options->cluster_name, buf_text(&body));
    web_answer_page(request, 200, &page);
    buf_free(&body);
}

/* The form again, around the sentence that was kept. */
static void form_again(struct web_request *request, json_t *invite)
{
    struct tp_error error = request->kept;
    answer_form(request, err_http(error.code), invite, field_of(&error), &error);
}

void web_form_failed(struct web_request *request, const struct tp_error *error)
{
    if (error->code == TP_NOT_FOUND || error->code == TP_EXPIRED || error->code == TP_UNAVAILABLE ||
        error->code == TP_CLOSED) {
        answer_bad_link(request, error);
        return;
    }
    request->kept = *error;
    web_call_then(request, json_pack("{s:s}", "token", request->params[0]), form_again, answer_bad_link);
}
