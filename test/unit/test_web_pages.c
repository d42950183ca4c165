/* Pages that the server writes and files of the application, and what browsers send. */
#include "web_help.h"

#define COOKIE "Cookie: __Host-grv_csrf=" CSRF "\r\n"
#define KOREAN "Accept-Language: ko-KR,ko;q=0.9,en;q=0.8\r\n"

static const char *send_form(struct bench *bench, const char *below, const char *headers, const char *fields)
{
    char *path = mem_printf("/web/invite/" TOKEN "%s", below);
    char *all = mem_printf(FORM "Origin: null\r\nSec-Fetch-Site: same-origin\r\n%s", headers);
    const char *answer = ask(bench, "POST", path, all, fields, false);
    mem_free(all);
    mem_free(path);
    return answer;
}

static void test_pages(void **state)
{
    struct bench *bench = *state;
    const char *answer = ask(bench, "GET", "/", "", NULL, false);
    assert_int_equal(status_of(answer), 302);
    assert_non_null(strstr(answer, "Location: /web\r\n"));
    /* The application: one page for all its addresses, with our own scripts and no others. */
    answer = ask(bench, "GET", "/web", "Accept-Encoding: gzip, br\r\n", NULL, false);
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(answer, "Vary: Accept-Encoding\r\n"));
    assert_non_null(strstr(answer, "Cache-Control: no-cache\r\n"));
    assert_non_null(strstr(answer, "script-src 'self'; style-src 'self'; "));
    assert_non_null(strstr(answer, "frame-ancestors 'none'; base-uri 'none'\r\n"));
    assert_null(strstr(answer, "unsafe-inline"));
    assert_int_equal(status_of(ask(bench, "GET", "/web/roles/dev2", "", NULL, false)), 200);
    assert_int_equal(status_of(ask(bench, "GET", "/web/a/b/c", "", NULL, false)), 404);
    assert_int_equal(status_of(ask(bench, "GET", "/web/assets/none.js", "", NULL, false)), 404);
    answer = ask(bench, "GET", "/web/style.css", "", NULL, false);
    assert_non_null(strstr(answer, "Content-Type: text/css"));
    assert_null(strstr(answer, "script-src"));
    assert_null(strstr(answer, "Set-Cookie:")); /* nothing to send back there */
    assert_null(strstr(ask(bench, "GET", "/web/a/b/c", "", NULL, false), "Set-Cookie:"));
    answer = ask(bench, "GET", "/web/invite/" TOKEN, "", NULL, false);
    assert_int_equal(status_of(answer), 200);
    assert_non_null(strstr(answer, "Welcome, &#60;alice&#62;"));
    assert_null(strstr(answer, "<alice>"));
    assert_null(strstr(answer, "<script"));
    assert_null(strstr(answer, "style=\""));
    assert_non_null(strstr(answer, "JBSW Y3DP EHPK 3PXP"));
    assert_non_null(strstr(answer, "data:image/png;base64,iVBOR"));
    assert_non_null(strstr(answer, "Set-Cookie: __Host-grv_csrf="));
    answer = ask(bench, "GET", "/web/invite/ffff", "", NULL, false);
    assert_int_equal(status_of(answer), 404);
    assert_non_null(strstr(answer, "This link is not valid"));
    answer = ask(bench, "HEAD", "/web/invite/" TOKEN, "", NULL, false);
    assert_non_null(strstr(answer, "\r\n\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

/* Gzip goes to who takes it; everybody else gets the same bytes unpacked, with their size. */
static void test_files_for_who_takes_no_gzip(void **state)
{
    static const char *const plain[] = {"", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, *\r\n",
                                        "Accept-Encoding: *;q=0\r\n", "Accept-Encoding: x-gzip-like\r\n"};
    static const char *const packed[] = {"Accept-Encoding: GZIP\r\n", "Accept-Encoding: br, *;q=0.1\r\n",
                                         "Accept-Encoding: *;q=0, gzip;q=0.001\r\n"};
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        const char *answer = ask(bench, "GET", "/web", plain[i], NULL, false);
        const char *body = strstr(answer, "\r\n\r\n");
        char *length = mem_printf("Content-Length: %zu\r\n", strlen(body + 4));
        assert_int_equal(status_of(answer), 200);
        assert_null(strstr(answer, "Content-Encoding"));
        assert_non_null(strstr(answer, "Vary: Accept-Encoding\r\n"));
        assert_non_null(strstr(body, "</html>"));
        assert_non_null(strstr(answer, length));
        mem_free(length);
        answer = ask(bench, "HEAD", "/web", plain[i], NULL, false);
        assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    }
    for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++)
        assert_non_null(strstr(ask(bench, "GET", "/web", packed[i], NULL, false), "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(ask(bench, "GET", "/web/style.css", "", NULL, false), ":root"));
}

/* Step 1, the code; and CSRF of both: no cookie, another token, no token, a cookie that is no token. */
static void test_form_of_the_code(void **state)
{
    struct bench *bench = *state;
    const char *answer;
    for (size_t i = 0; i < 2; i++) {
        const char *below = i == 0 ? "" : "/password";
        assert_int_equal(status_of(send_form(bench, below, "", "csrf_token=" CSRF "&code=123456")), 403);
        assert_int_equal(status_of(send_form(bench, below, COOKIE, "csrf_token=b&code=123456")), 403);
        assert_int_equal(status_of(send_form(bench, below, COOKIE, "code=123456")), 403);
        assert_int_equal(
            status_of(send_form(bench, below, "Cookie: __Host-grv_csrf=x\r\n", "csrf_token=x&code=123456")), 403);
    }
    answer = send_form(bench, "", KOREAN, "csrf_token=" CSRF "&code=123456");
    assert_non_null(strstr(answer, "더는 쓸 수 없는 양식입니다"));
    assert_non_null(strstr(answer, "lang=\"en\">this form is no longer valid"));
    assert_int_equal(bench->calls, 0);
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=12345");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "six digits"));
    assert_string_equal(bench->method, "invite.get");
    assert_int_equal(status_of(send_form(bench, "", COOKIE, "csrf_token=" CSRF)), 400);
    bench->refuse = TP_INVALID;
    bench->refuse_text = "the code is wrong";
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123+456");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "The code does not match."));
    assert_non_null(strstr(answer, "JBSW Y3DP EHPK 3PXP"));
    answer = send_form(bench, "", COOKIE KOREAN, "csrf_token=" CSRF "&code=123456");
    assert_non_null(strstr(answer, "<html lang=\"ko\">"));
    assert_non_null(strstr(answer, "코드가 맞지 않습니다."));
    assert_null(strstr(answer, "code is wrong"));
    bench->refuse = TP_NOT_FOUND;
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456");
    assert_int_equal(status_of(answer), 404);
    assert_non_null(strstr(answer, "This link is not valid"));
    bench->refuse = TP_LIMIT;
    assert_int_equal(status_of(send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456")), 429);
    bench->refuse = TP_OK;
    answer = send_form(bench, "", COOKIE, "csrf_token=" CSRF "&code=123456");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(json_get_text(bench->params, "code", ""), "123456");
    assert_non_null(strstr(answer, "name=\"proof\" value=\"" PROOF "\""));
    assert_non_null(strstr(answer, "action=\"/web/invite/" TOKEN "/password\""));
    assert_non_null(strstr(answer, "Welcome, &#60;alice&#62;"));
    assert_null(strstr(answer, "JBSW"));
}

/* Step 2, the password: what is wrong with it costs neither the code nor its proof. */
static void test_form_of_the_password(void **state)
{
#define PROVEN "csrf_token=" CSRF "&proof=" PROOF
    struct bench *bench = *state;
    const char *answer = send_form(bench, "/password", COOKIE, PROVEN "&password=short+pass&repeat=short+pass");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "too short"));
    assert_null(strstr(answer, "short pass"));
    assert_non_null(strstr(answer, "name=\"proof\" value=\"" PROOF "\""));
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+batterz");
    assert_non_null(strstr(answer, "not the same"));
    assert_null(strstr(answer, "correct horse"));
    answer = send_form(bench, "/password", COOKIE KOREAN,
                       PROVEN "&password=correct+horse+battery&repeat=correct+horse+batterz");
    assert_non_null(strstr(answer, "두 비밀번호가 서로 다릅니다."));
    assert_string_equal(bench->method, "invite.get");
    bench->refuse = TP_INVALID;
    bench->refuse_text = "the password is <b>common</b>";
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "The password is &#60;b&#62;common&#60;/b&#62;."));
    assert_null(strstr(answer, "correct horse"));
    answer = send_form(bench, "/password", COOKIE KOREAN,
                       PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_non_null(strstr(answer, "쓸 수 없는 비밀번호입니다."));
    /* A proof that is too old, or none: back to the code, and that is said. */
    bench->refuse = TP_EXPIRED;
    answer =
        send_form(bench, "/password", COOKIE, PROVEN "&password=correct+horse+battery&repeat=correct+horse+battery");
    assert_int_equal(status_of(answer), 403);
    assert_non_null(strstr(answer, "the code is needed once more"));
    assert_non_null(strstr(answer, "name=\"code\""));
    bench->refuse = TP_OK;
    answer = send_form(bench, "/password", COOKIE, "csrf_token=" CSRF "&password=correct+horse+battery&repeat=x");
    assert_non_null(strstr(answer, "the code is needed once more"));
    answer = send_form(bench, "/password", COOKIE,
                       PROVEN "&password=correct+horse+b%c3%a4ttery&repeat=correct+horse+b%c3%a4ttery");
    assert_int_equal(status_of(answer), 200);
    assert_string_equal(bench->method, "invite.finish");
    assert_string_equal(json_get_text(bench->params, "password", ""), "correct horse b\xc3\xa4ttery");
    assert_string_equal(json_get_text(bench->params, "proof", ""), PROOF);
    assert_non_null(strstr(answer, "--user=&#60;alice&#62;</span></code>"));
    assert_non_null(strstr(answer, "href=\"/web\">Sign in here</a>"));
    /* Who loads the second address again begins anew. */
    assert_non_null(strstr(ask(bench, "GET", "/web/invite/" TOKEN "/password", "", NULL, false), "name=\"code\""));
#undef PROVEN
}

static void test_languages(void **state)
{
    (void)state;
    assert_int_equal(web_language_of(NULL), WEB_ENGLISH);
    assert_int_equal(web_language_of("fr, de;q=0.5"), WEB_ENGLISH);
    assert_int_equal(web_language_of("ko"), WEB_KOREAN);
    assert_int_equal(web_language_of("fr,KO-kr;q=0.3,en;q=0.2"), WEB_KOREAN);
    assert_int_equal(web_language_of("en-GB,ko;q=0.9"), WEB_ENGLISH);
    assert_int_equal(web_language_of("ko;q=0,*"), WEB_ENGLISH);
    assert_int_equal(web_language_of("kok, korean"), WEB_ENGLISH);
    for (enum web_word word = WORD_NONE + 1; word <= WORD_WRONG_OLD; word++) {
        const char *english = web_word_text(WEB_ENGLISH, word);
        const char *korean = web_word_text(WEB_KOREAN, word);
        assert_true(*english && *korean && strcmp(english, korean) != 0);
        assert_int_equal(strstr(english, "{}") != NULL, strstr(korean, "{}") != NULL);
    }
}

static void test_html_escape(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    web_html_text(&out, "a<b>&\"'`\xc3\xa4");
    assert_string_equal(buf_text(&out), "a&#60;b&#62;&#38;&#34;&#39;&#96;\xc3\xa4");
    buf_free(&out);
}

static void test_cookie_parsing(void **state)
{
    struct web_session_cookie cookie = {0};
    char *value = NULL;
    (void)state;
    assert_int_equal(web_cookie_get("a=1; b=2;c=3", "b", &value), TP_OK);
    assert_string_equal(value, "2");
    mem_free(value);
    assert_int_equal(web_cookie_get("a=1; a=2", "a", &value), TP_INVALID);
    assert_int_equal(web_cookie_get("xa=1; ab=2", "a", &value), TP_NOT_FOUND);
    assert_int_equal(web_cookie_get("a=\"1\"", "a", &value), TP_INVALID);
    assert_int_equal(web_cookie_get(NULL, "a", &value), TP_NOT_FOUND);
    assert_int_equal(web_cookie_session_parse("zz", &cookie), TP_INVALID);
    assert_int_equal(web_cookie_session_parse("7b7d", &cookie), TP_INVALID);
    value = web_cookie_session_text("a\"b", "c");
    assert_int_equal(web_cookie_session_parse(value, &cookie), TP_OK);
    assert_string_equal(cookie.user, "a\"b");
    web_cookie_session_free(&cookie);
    mem_free(value);
    assert_false(web_cookie_csrf_matches("", ""));
    assert_false(web_cookie_csrf_matches(NULL, NULL));
    assert_true(web_cookie_csrf_matches(CSRF, CSRF));
}

/* Flow on one connection: pipelined requests are answered in order; nothing behind a refused one is looked at. */
static void test_pipelining(void **state)
{
    struct bench *bench = *state;
    const char *answer =
        talk(bench,
             "GET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\n",
             false);
    const char *second = strstr(answer + 1, "HTTP/1.1 302 Found");
    assert_non_null(second);
    assert_non_null(strstr(second + 1, "HTTP/1.1 302 Found"));
    assert_int_equal(bench->calls, 1);
    answer = talk(
        bench, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\nGET /webapi/ping HTTP/1.1\r\nHost: a\r\n\r\n",
        false);
    assert_int_equal(status_of(answer), 400);
    assert_non_null(strstr(answer, "Connection: close"));
    assert_null(strstr(answer + 1, "HTTP/1.1"));
    assert_int_equal(bench->calls, 1);
    answer = talk(bench, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false);
    assert_int_equal(status_of(answer), 505);
    answer = talk(
        bench, "POST /webapi/ssh/certs HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999\r\n\r\n",
        false);
    assert_int_equal(status_of(answer), 413);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_html_escape),
        cmocka_unit_test(test_cookie_parsing),
        cmocka_unit_test_setup_teardown(test_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_for_who_takes_no_gzip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form_of_the_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form_of_the_password, set_up, tear_down),
        cmocka_unit_test(test_languages),
        cmocka_unit_test_setup_teardown(test_pipelining, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
