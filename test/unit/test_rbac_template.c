#include "rbac_help.h"

#include "rbac/template.h"

static const char traits_text[] =
    "{\"logins\":[\"admin\",\"root\"],\"email\":[\"alice@example.com\",\"bob@x\"],\"bad\":[\"nobody\"],"
    "\"k:x\":[\"colon\"],\"mixed\":[\"dev-1\",\"ops-2\",\"dev-3\"],\"empty\":[],\"blank\":[\"\"]}";

static const struct {
    const char *template, *values; /* values joined with blanks */
} table[] = {
    {"plain", "plain"},
    {"{{internal.logins}}", "admin root"},
    {"{{ internal.logins }}", "admin root"},
    {"x-{{external.logins}}-y", "x-admin-y x-root-y"},
    {"{{internal.none}}", ""},
    {"{{internal.kubernetes_users}}", ""},
    {"{{external.empty}}", ""},
    {"pre-{{external.blank}}", ""},
    {"{{external[\"k:x\"]}}", "colon"},
    {"{{email.local(external.email)}}", "alice bob"},
    {"{{email.local(external.bad)}}", ""},
    {"{{regexp.replace(external.mixed, \"^dev-(.*)$\", \"d$1\")}}", "d1 d3"},
    {"{{regexp.replace(external.mixed, \"^(?P<kind>[a-z]+)-.*$\", \"${kind}\")}}", "dev ops"},
    {"{{regexp.replace(external.mixed, \"^none$\", \"x\")}}", ""},
    {"{{regexp.replace(email.local(external.email), \"^(.)(.*)$\", \"$2$1\")}}", "licea obb"},
    {"{{email.local(\"carol@z\")}}", "carol"},
};

static void test_expansion(void **state)
{
    json_t *traits = json_loads(traits_text, 0, NULL);
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct template *item = NULL;
        struct names values = {0};
        char joined[256] = "";
        struct tp_error error = {0};
        if (template_parse(table[i].template, &item, &error))
            fail_msg("%s: %s", table[i].template, error.text);
        template_expand(item, traits, &values);
        for (size_t j = 0; j < values.count; j++)
            snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", j ? " " : "", values.items[j]);
        if (strcmp(joined, table[i].values) != 0)
            fail_msg("%s gave \"%s\", not \"%s\"", table[i].template, joined, table[i].values);
        names_free(&values);
        template_free(item);
    }
    json_decref(traits);
}

static void test_bad_templates(void **state)
{
    static const char *const bad[] = {"{{internal.logins",
                                      "internal.logins}}",
                                      "}}{{",
                                      "{{}}",
                                      "{{internal}}",
                                      "{{internal.}}",
                                      "{{logins}}",
                                      "{{internal.a}}{{internal.b}}",
                                      "{{internal.a}} {b}",
                                      "{a}{{internal.b}}",
                                      "{{email.local(}}",
                                      "{{email.local()}}",
                                      "{{regexp.replace(external.a, \"(\", \"x\")}}",
                                      "{{regexp.replace(external.a, \"x\")}}",
                                      "{{external[\"a]}}",
                                      "{{external.a b}}",
                                      "{{\"literal\"}}",
                                      "{{email.local(email.local(email.local(email.local(email.local(email.local(email."
                                      "local(email.local(email.local(external.a)))))))))}}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct template *item = NULL;
        struct tp_error error = {0};
        if (template_parse(bad[i], &item, &error) != TP_INVALID)
            fail_msg("%s was taken", bad[i]);
        assert_true(*error.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expansion), cmocka_unit_test(test_bad_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
