/* Prints the tables that say who may do what, as JSON, for test/blackbox/test_matrix.py: a row that is added here and not
 * there fails that test. */
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "protocols/web/web_priv.h"
#include "protocols/worker_priv.h"

#include <stdio.h>
#include <string.h>

static void add_method(json_t *list, const struct method *method)
{
    static const struct {
        unsigned bit;
        const char *letter;
    } who[] = {{WHO_ANONYMOUS, "A"}, {WHO_USER, "U"},  {WHO_ONE_TARGET, "O"},
               {WHO_HOST, "H"},      {WHO_PROXY, "P"}, {WHO_LOCAL, "L"}};
    static const char *const rights[] = {"none", "self", "self", "rule", "possible", "handler"};
    char letters[8] = "";
    for (size_t i = 0; i < sizeof who / sizeof who[0]; i++) {
        if ((method->who & who[i].bit) != 0) {
            strcat(letters, who[i].letter);
        }
    }
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b}", "name", method->name, "who",
                                          letters, "right", rights[method->right], "verb", method->verb, "kind",
                                          method->kind, "via_proxy", (method->who & WHO_VIA_PROXY) != 0, "local_agent",
                                          (method->who & WHO_LOCAL_AGENT) != 0, "by_web",
                                          web_route_is_user_method(method->name), "by_tunnel",
                                          tunnels_is_agent_method(method->name)));
}

int main(void)
{
    static const char *const who[] = {[WEB_ANONYMOUS] = "anonymous", [WEB_SESSION] = "session", [WEB_CERT] = "cert"};
    json_t *calls = json_array();
    json_t *routes = json_array();
    for (const struct method *method = methods; method->name != NULL; method++) {
        add_method(calls, method);
    }
    size_t count = 0;
    const struct web_route *rows = web_routes(&count);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(routes, json_pack("{s:s, s:s, s:s, s:s?}", "method", rows[i].method, "path", rows[i].path,
                                                "who", who[rows[i].who], "rpc", rows[i].rpc));
    }
    json_t *all = json_pack("{s:o, s:o}", "methods", calls, "routes", routes);
    int status = json_dumpf(all, stdout, 0);
    json_decref(all);
    return status == 0 ? 0 : 1;
}
