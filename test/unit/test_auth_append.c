/* recording.append: how much a host may have under way. */
#include "auth/hosts.h"
#include "auth_access_help.h"
#include "core/rpc.h"
#include "recording/piece.h"

#define PIECES (RPC_UNANSWERED_MAX / PIECE_MAX) /* as many as one host may have under way */
#define MORE 10

static void start_session(struct fixture *fixture, const char *host_id, const char *name, char **ret_sid)
{
    *ret_sid = connect_as(fixture, "alice", name);
    json_decref(must(fixture, as_host(host_id, name), "session.start",
                     json_pack("{s:s, s:s, s:s}", "sid", *ret_sid, "login", "root", "kind", "shell")));
}

static json_t *append_params(const char *id, size_t offset, const char *data)
{
    return json_pack("{s:s, s:I, s:s}", "id", id, "offset", (json_int_t)offset, "data", data);
}

/* What is compressed takes a thousandth on the line, so the limit of that counted no more: a hostile agent had auth unpack and
 * write gigabytes in one turn, for half a megabyte each. */
static void r15_a_host_has_no_more_under_way_than_fits_unpacked(void **state)
{
    static char text[PIECE_MAX];
    static struct answer answers[PIECES + MORE];
    struct fixture *fixture = *state;
    char *sid = NULL;
    char *other = NULL;
    size_t good = 0;
    put_role(fixture, "dev", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    start_session(fixture, HOST_A, "web-1", &sid);
    start_session(fixture, HOST_B, "web-2", &other);
    memset(text, 'x', sizeof text);
    char *data = piece_pack(text, sizeof text);
    for (int round = 0; round < 2; round++) {
        size_t begin = good * PIECE_MAX;
        for (size_t i = 0; i < PIECES + MORE; i++) {
            ask_later(fixture, as_host(HOST_A, "web-1"), "recording.append",
                      append_params(sid, begin + i * PIECE_MAX, data), &answers[i]);
        }
        /* Nobody else waits for that. */
        json_decref(must(fixture, as_host(HOST_B, "web-2"), "recording.append",
                         append_params(other, (size_t)round * PIECE_MAX, data)));
        wait_all(fixture);
        for (size_t i = 0; i < PIECES + MORE; i++) {
            assert_int_equal(answers[i].error.code, i < PIECES ? TP_OK : TP_LIMIT);
            json_decref(answers[i].result);
        }
        good += PIECES;
    }
    mem_free(data);
    mem_free(sid);
    mem_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r15_a_host_has_no_more_under_way_than_fits_unpacked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
