/* Prints the table of SSH requests as JSON for test/blackbox/test_matrix.py (apart from dump_tables: libssh and BoringSSL
 * never share a process). */
#include "base/json.h"
#include "session/requests.h"

#include <stdio.h>

int main(void)
{
    static const char *const places[] = {[REQUEST_GLOBAL] = "global",
                                         [REQUEST_OPEN] = "open",
                                         [REQUEST_CHANNEL] = "channel",
                                         [REQUEST_SUBSYSTEM] = "subsystem"};
    static const char *const verbs[] = {[VERB_NONE] = "none",
                                        [VERB_SESSION] = "session",
                                        [VERB_FILE_COPY] = "file_copy",
                                        [VERB_FORWARD_LOCAL] = "forward_local",
                                        [VERB_FORWARD_REMOTE] = "forward_remote",
                                        [VERB_FORWARD_AGENT] = "forward_agent",
                                        [VERB_NEVER] = "never"};
    json_t *list = json_array();
    size_t count = 0;
    const struct request_row *rows = requests_rows(&count);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "place", places[rows[i].place], "name", rows[i].name,
                                              "verb", verbs[rows[i].verb]));
    }
    int status = json_dumpf(list, stdout, 0);
    json_decref(list);
    return status == 0 ? 0 : 1;
}
