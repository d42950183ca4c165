/* The pages: start, invitation, reset. They need no scripts (the last one has a button that only a script can offer); what people
 * type comes back by form, secrets never go out again.
 *
 * An invitation has two forms, so that a mistake in one costs nothing of the other: the code first (invite.confirm, which
 * gives a proof), then the password, with the proof in a hidden field (invite.finish). */
#include "base/mem.h"
#include "protocols/web/web_assets.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define PASSWORD_MIN 12
#define PASSWORD_MAX 128

enum web_language web_language(const struct web_request *request)
{
    return web_language_of(http_request_header(web_http(request), "accept-language"));
}

/* A page while it is written. */
struct page {
    struct web_request *request;
    enum web_language language;
    struct buf body;
    bool command; /* shows one */
};

static void page_begin(struct page *page, struct web_request *request)
{
    page->request = request;
    page->language = web_language(request);
    page->command = false;
    buf_init(&page->body, 0);
}

static void page_answer(struct page *page, int status, enum web_word title)
{
    struct buf whole;
    buf_init(&whole, 0);
    web_html_page(&whole, page->language, web_word_text(page->language, title),
                  web_options(page->request)->cluster_name, page->command ? web_copy_script : NULL,
                  buf_text(&page->body));
    web_answer_page(page->request, status, page->command, &whole);
    buf_wipe(&page->body);
}

/* open and close are our own HTML. */
static void add(struct page *page, const char *open, enum web_word word, const char *value, const char *close)
{
    (void)buf_append_text(&page->body, open);
    web_word_put(&page->body, page->language, word, value);
    (void)buf_append_text(&page->body, close);
}

void web_root_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_redirect(request, "/web");
}

static void add_sign_in(struct page *page)
{
    add(page, "<p><a class=\"go\" href=\"/web\">", WORD_SIGN_IN_HERE, NULL, "</a></p>");
}

/* The link does not lead anywhere (any more). */
static void answer_bad_link(struct web_request *request, const struct tp_error *error)
{
    struct page page;
    if (error->code != TP_NOT_FOUND && error->code != TP_EXPIRED && error->code != TP_INVALID) {
        web_answer_error(request, error);
        return;
    }
    page_begin(&page, request);
    add(&page, "<h1>", WORD_LINK_HEAD, NULL, "</h1>");
    add(&page, "<p>", WORD_LINK_TEXT, NULL, "</p>");
    add(&page, "<p>", WORD_LINK_ASK, NULL, "</p>");
    add_sign_in(&page);
    page_answer(&page, 404, WORD_LINK_TITLE);
}

/* What the server said, in the language of its sentences; people who read another one get it beside their own. */
static void add_said(struct page *page, const char *text)
{
    if (page->language == WEB_ENGLISH || !text[0])
        return;
    (void)buf_append_text(&page->body, "<p class=\"hint\" lang=\"en\">");
    web_html_text(&page->body, text);
    (void)buf_append_text(&page->body, "</p>");
}

void web_page_error(struct web_request *request, const struct tp_error *error)
{
    struct page page;
    page_begin(&page, request);
    add(&page, "<h1>", WORD_ERROR_HEAD, NULL, "</h1>");
    if (page.language == WEB_ENGLISH) {
        (void)buf_append_text(&page.body, "<p>");
        web_html_text(&page.body, error->text[0] ? error->text : err_text(error->code));
        (void)buf_append_text(&page.body, "</p>");
    } else {
        add(&page, "<p>", web_word_of(error->code), NULL, "</p>");
        add_said(&page, error->text);
    }
    add(&page, "<p><a href=\"/web\">", WORD_START_PAGE, NULL, "</a></p>");
    page_answer(&page, err_http(error->code), WORD_ERROR_TITLE);
}

/* ---- what is wrong with a form ---- */

/* One fault at most: word says it. said: what auth gave as its reason, for who reads English; may be "". */
struct fault {
    enum web_word word;
    const char *said;
};

static const struct fault no_fault = {WORD_NONE, ""};

/* Our sentences start small and end without a full stop, for use in the middle of a line. */
static void add_sentence(struct buf *out, const char *text)
{
    size_t size = strlen(text);
    char first[2] = {text[0], '\0'};
    if (first[0] >= 'a' && first[0] <= 'z')
        first[0] = (char)(first[0] - 'a' + 'A');
    web_html_text(out, first);
    web_html_text(out, text + 1);
    if (text[size - 1] != '.')
        (void)buf_append_text(out, ".");
}

static void add_fault(struct page *page, const struct fault *fault, const char *id)
{
    (void)buf_printf(&page->body, "<p class=\"error\" id=\"error-%s\" role=\"alert\">", id);
    if (page->language == WEB_ENGLISH && fault->said[0])
        add_sentence(&page->body, fault->said);
    else
        web_word_put(&page->body, page->language, fault->word, NULL);
    (void)buf_append_text(&page->body, "</p>");
}

/* ---- forms ---- */

struct input {
    const char *name;
    enum web_word label;
    enum web_word hint;     /* WORD_NONE: none */
    const char *attributes; /* our own HTML */
};

/* fault: NULL when this input is not the one it is about. */
static void add_input(struct page *page, const struct input *input, const struct fault *fault)
{
    struct buf *out = &page->body;
    (void)buf_printf(out, "<div class=\"field%s\"><label for=\"%s\">", fault ? " wrong" : "", input->name);
    add(page, "", input->label, NULL, "</label>");
    if (input->hint != WORD_NONE) {
        (void)buf_printf(out, "<p class=\"hint\" id=\"hint-%s\">", input->name);
        add(page, "", input->hint, NULL, "</p>");
    }
    (void)buf_printf(out, "<input id=\"%s\" name=\"%s\" %s required", input->name, input->name, input->attributes);
    if (fault)
        (void)buf_printf(out, " aria-describedby=\"error-%s\" aria-invalid=\"true\" autofocus>", input->name);
    else if (input->hint != WORD_NONE)
        (void)buf_printf(out, " aria-describedby=\"hint-%s\">", input->name);
    else
        (void)buf_append_text(out, ">");
    if (fault)
        add_fault(page, fault, input->name);
    (void)buf_append_text(out, "</div>");
}

static void add_hidden(struct buf *out, const char *name, const char *value)
{
    (void)buf_printf(out, "<input type=\"hidden\" name=\"%s\" value=\"", name);
    web_html_text(out, value);
    (void)buf_append_text(out, "\">");
}

/* The forms of one invitation go to its own address, or below it. */
static void open_form(struct page *page, const char *kind, const char *below)
{
    struct buf *out = &page->body;
    (void)buf_printf(out, "<form method=\"post\" action=\"/web/%s/", kind);
    web_html_text(out, page->request->params[0]);
    (void)buf_printf(out, "%s\">", below);
    add_hidden(out, "csrf_token", web_csrf(page->request));
}

static const char *kind_of(const json_t *invite)
{
    return strcmp(json_get_text(invite, "kind", ""), "reset") == 0 ? "reset" : "invite";
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

static void add_image(struct page *page, const char *otpauth)
{
    char *image = web_qr_base64(otpauth);
    if (image) {
        add(page, "<img class=\"qr\" width=\"220\" height=\"220\" alt=\"", WORD_FACTOR_IMAGE, NULL,
            "\" src=\"data:image/png;base64,");
        (void)buf_append_text(&page->body, image);
        (void)buf_append_text(&page->body, "\">");
    }
    secret_free(image);
}

/* Step 1: the second factor. */
static void answer_code_form(struct web_request *request, int status, const json_t *invite, const struct fault *fault)
{
    static const struct input code = {"code", WORD_FACTOR_CODE, WORD_FACTOR_CODE_HINT,
                                      "type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\" "
                                      "pattern=\"[0-9 ]{6,7}\" maxlength=\"7\" class=\"code\""};
    const char *kind = kind_of(invite);
    bool reset = strcmp(kind, "reset") == 0;
    struct page page;
    page_begin(&page, request);
    add(&page, "<h1>", reset ? WORD_RESET_HEAD : WORD_INVITE_HEAD, json_get_text(invite, "user", ""), "</h1>");
    add(&page, "<p>", reset ? WORD_RESET_TEXT : WORD_INVITE_TEXT, NULL, "</p>");
    open_form(&page, kind, "");
    add(&page, "<section><h2><span class=\"step\">1</span> ", WORD_FACTOR_STEP, NULL, "</h2>");
    add(&page, "<p>", WORD_FACTOR_SCAN, NULL, "</p>");
    add_image(&page, json_get_text(invite, "otpauth", ""));
    add(&page, "<p class=\"hint\">", WORD_FACTOR_TYPE, NULL, "</p>");
    add_secret(&page.body, json_get_text(invite, "secret", ""));
    add_input(&page, &code, fault->word != WORD_NONE ? fault : NULL);
    add(&page, "</section><button type=\"submit\">", WORD_NEXT, NULL, "</button></form>");
    page_answer(&page, status, reset ? WORD_RESET_TITLE : WORD_INVITE_TITLE);
}

/* Step 2: the password. */
static void answer_password_form(struct web_request *request, int status, const json_t *invite, const char *proof,
                                 const struct fault *fault)
{
    static const char attributes[] =
        "type=\"password\" autocomplete=\"new-password\" minlength=\"12\" maxlength=\"128\"";
    static const struct input password = {"password", WORD_PASSWORD, WORD_PASSWORD_HINT, attributes};
    static const struct input at_once = {"password", WORD_PASSWORD, WORD_PASSWORD_HINT,
                                         "type=\"password\" autocomplete=\"new-password\" minlength=\"12\" "
                                         "maxlength=\"128\" autofocus"};
    static const struct input repeat = {"repeat", WORD_PASSWORD_REPEAT, WORD_NONE, attributes};
    const char *kind = kind_of(invite);
    bool reset = strcmp(kind, "reset") == 0;
    bool at_repeat = fault->word == WORD_WRONG_REPEAT;
    struct page page;
    page_begin(&page, request);
    add(&page, "<h1>", reset ? WORD_RESET_HEAD : WORD_INVITE_HEAD, json_get_text(invite, "user", ""), "</h1>");
    add(&page, "<p>", WORD_PASSWORD_AFTER, NULL, "</p>");
    open_form(&page, kind, "/password");
    add_hidden(&page.body, "proof", proof);
    (void)buf_append_text(&page.body,
                          "<input class=\"hidden\" type=\"text\" name=\"username\" autocomplete=\"username\" "
                          "tabindex=\"-1\" aria-hidden=\"true\" readonly value=\"");
    web_html_text(&page.body, json_get_text(invite, "user", ""));
    add(&page, "\"><section><h2><span class=\"step\">2</span> ", WORD_PASSWORD_STEP, NULL, "</h2>");
    if (fault->word == WORD_NONE)
        add_input(&page, &at_once, NULL);
    else
        add_input(&page, &password, at_repeat ? NULL : fault);
    add_input(&page, &repeat, at_repeat ? fault : NULL);
    add(&page, "</section><button type=\"submit\">", WORD_FINISH, NULL, "</button></form>");
    page_answer(&page, status, reset ? WORD_RESET_TITLE : WORD_INVITE_TITLE);
}

void web_invite_finish(struct web_request *request, json_t *result)
{
    answer_code_form(request, 200, result, &no_fault);
}

void web_invite_failed(struct web_request *request, const struct tp_error *error)
{
    answer_bad_link(request, error);
}

/* ---- step 1 comes back ---- */

/* A field of the form; secret_free it. NULL: it is not there. */
static char *field(const struct web_request *request, const char *name)
{
    const struct http_request *http = web_http(request);
    char *value = NULL;
    return http_form_value(buf_head(&http->body), buf_size(&http->body), name, &value) == TP_OK ? value : NULL;
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

/* The form is wrong by itself; auth is not asked. */
static enum tp_err refuse(struct web_request *request, enum web_word word, struct tp_error *error)
{
    request->fault = word;
    return err_set(error, TP_INVALID, "%s", web_word_text(WEB_ENGLISH, word));
}

enum tp_err web_code_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    char *code = field(request, "code");
    enum tp_err err = TP_OK;
    if (!code)
        return refuse(request, WORD_WRONG_FORM, error);
    drop_blanks(code);
    if (strlen(code) != 6 || strspn(code, "0123456789") != 6)
        err = refuse(request, WORD_WRONG_DIGITS, error);
    else
        *ret_params = json_pack("{s:s, s:s}", "token", request->params[0], "code", code);
    secret_free(code);
    return err;
}

void web_code_finish(struct web_request *request, json_t *result)
{
    answer_password_form(request, 200, result, json_get_text(result, "proof", ""), &no_fault);
}

/* A refusal that is about the link or the moment, not about what was typed. */
static bool is_final(enum tp_err code)
{
    return code != TP_INVALID && code != TP_DENIED && code != TP_EXPIRED;
}

/* The first form again, around what is wrong. */
static void code_again(struct web_request *request, json_t *invite)
{
    struct fault fault = {request->fault != WORD_NONE ? request->fault : WORD_WRONG_CODE, ""};
    answer_code_form(request, err_http(request->kept.code), invite, &fault);
}

void web_code_failed(struct web_request *request, const struct tp_error *error)
{
    if (is_final(error->code)) {
        answer_bad_link(request, error);
        return;
    }
    request->kept = *error;
    web_call_then(request, json_pack("{s:s}", "token", request->params[0]), code_again, answer_bad_link);
}

/* ---- step 2 comes back ---- */

/* UTF-8 characters, so that the rule counts what people count. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((uint8_t)*text & 0xc0) != 0x80;
    return count;
}

static enum web_word password_fault(const char *password, const char *repeat)
{
    if (!password || !repeat)
        return WORD_WRONG_FORM;
    if (characters(password) < PASSWORD_MIN)
        return WORD_WRONG_SHORT;
    if (strlen(password) > PASSWORD_MAX)
        return WORD_WRONG_LONG;
    return secret_equal_text(password, repeat) ? WORD_NONE : WORD_WRONG_REPEAT;
}

enum tp_err web_password_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    char *password = field(request, "password");
    char *repeat = field(request, "repeat");
    char *proof = field(request, "proof");
    enum web_word wrong = password_fault(password, repeat);
    enum tp_err err = TP_OK;
    if (!proof || !*proof)
        err = err_set(error, TP_EXPIRED, "the code comes first");
    else if (wrong != WORD_NONE)
        err = refuse(request, wrong, error);
    else
        *ret_params = json_pack("{s:s, s:s, s:s}", "token", request->params[0], "password", password, "proof", proof);
    secret_free(password);
    secret_free(repeat);
    secret_free(proof);
    return err;
}

/* With its copy button, which web/src/copy.ts shows where scripts run. */
static void login_command(struct page *page, const char *user)
{
    page->command = true;
    add(page, "<div class=\"command\"><pre tabindex=\"0\" aria-label=\"", WORD_COMMAND, NULL, "\">");
    (void)buf_append_text(&page->body, "<code>tport login <span>--proxy=");
    web_html_text(&page->body, web_options(page->request)->public_addr);
    (void)buf_append_text(&page->body, "</span> <span>--user=");
    web_html_text(&page->body, user);
    add(page, "</span></code></pre><button type=\"button\" hidden data-copied=\"", WORD_COPIED, NULL, "\"");
    add(page, " data-refused=\"", WORD_COPY_REFUSED, NULL, "\">");
    add(page, "", WORD_COPY, NULL, "</button><span role=\"status\"></span></div>");
}

void web_password_finish(struct web_request *request, json_t *result)
{
    struct page page;
    page_begin(&page, request);
    add(&page, "<h1>", WORD_READY_HEAD, NULL, "</h1>");
    add(&page, "<p>", WORD_READY_TEXT, NULL, " ");
    add(&page, "", WORD_READY_WAIT, NULL, "</p>");
    add_sign_in(&page);
    add(&page, "<p>", WORD_READY_TERMINAL, NULL, "</p>");
    login_command(&page, json_get_text(result, "user", ""));
    page_answer(&page, 200, WORD_READY_TITLE);
}

/* The second form again, with its proof; or the first one when the proof is worth nothing any more. */
static void password_again(struct web_request *request, json_t *invite)
{
    int status = err_http(request->kept.code);
    if (request->kept.code == TP_EXPIRED) {
        struct fault old = {WORD_WRONG_OLD, ""};
        answer_code_form(request, status, invite, &old);
    } else {
        struct fault fault = {request->fault, ""};
        char *proof = field(request, "proof");
        if (fault.word == WORD_NONE)
            fault = (struct fault){WORD_WRONG_PASSWORD, request->kept.text};
        answer_password_form(request, status, invite, proof ? proof : "", &fault);
        secret_free(proof);
    }
}

void web_password_failed(struct web_request *request, const struct tp_error *error)
{
    if (is_final(error->code)) {
        answer_bad_link(request, error);
        return;
    }
    request->kept = *error;
    web_call_then(request, json_pack("{s:s}", "token", request->params[0]), password_again, answer_bad_link);
}
