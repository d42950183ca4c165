#include "session/order.h"

#include <string.h>

#define EVERY_KIND (ORDER_KIND_SSH | ORDER_KIND_SHELL | ORDER_KIND_FILE)

static const struct order_row ROWS[] = {
    {"auth", ORDER_AUTH, ORDER_KIND_SSH, ORDER_UNAUTHENTICATED, ORDER_AUTH_TRIES},
    {"open_shell", ORDER_OPEN_SHELL, ORDER_KIND_SSH | ORDER_KIND_SHELL, ORDER_AUTHENTICATED, 0},
    {"open_exec", ORDER_OPEN_EXEC, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 0},
    {"open_sftp", ORDER_OPEN_SFTP, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 0},
    {"open_file", ORDER_OPEN_FILE, ORDER_KIND_FILE, ORDER_AUTHENTICATED, 1},
    {"file_done", ORDER_FILE_DONE, ORDER_KIND_FILE, ORDER_AUTHENTICATED | ORDER_ENDING, 1},
    {"signal", ORDER_SIGNAL, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 0},
    {"connect", ORDER_CONNECT, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 0},
    {"listen", ORDER_LISTEN, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 0},
    {"agent_listen", ORDER_AGENT_LISTEN, ORDER_KIND_SSH, ORDER_AUTHENTICATED, 1},
    {"record", ORDER_RECORD, ORDER_KIND_SSH | ORDER_KIND_SHELL, ORDER_AUTHENTICATED | ORDER_ENDING, 0},
    {"end", ORDER_END, ORDER_KIND_SSH | ORDER_KIND_SHELL, ORDER_AUTHENTICATED | ORDER_ENDING, 0},
    {"audit", ORDER_AUDIT, EVERY_KIND, ORDER_AUTHENTICATED | ORDER_ENDING, 0},
    {"bye", ORDER_BYE, EVERY_KIND, ORDER_UNAUTHENTICATED | ORDER_AUTHENTICATED | ORDER_ENDING, 1},
};

const struct order_row *order_rows(size_t *ret_count)
{
    *ret_count = sizeof(ROWS) / sizeof(ROWS[0]);
    return ROWS;
}

enum tp_err order_check(struct order *order, enum order_kind kind, enum order_state state, const char *name,
                        enum order_method *ret_method, struct tp_error *error)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct order_row *row = &ROWS[i];
        if (strcmp(row->name, name) != 0) {
            continue;
        }
        if ((row->kinds & (unsigned)kind) == 0) {
            return err_set(error, TP_PROTOCOL, "the call %s is not for this kind of grant", row->name);
        }
        if ((row->states & (unsigned)state) == 0) {
            return err_set(error, TP_PROTOCOL, "the call %s is out of order", row->name);
        }
        uint32_t *calls = &order->calls[row->method];
        if (row->max != 0 && *calls >= row->max) {
            return err_set(error, TP_PROTOCOL, "the call %s was made too often", row->name);
        }
        *calls += 1;
        *ret_method = row->method;
        return TP_OK;
    }
    return err_set(error, TP_PROTOCOL, "an unknown call");
}

bool order_audits(enum order_kind kind, const char *event)
{
    static const struct {
        const char *event;
        unsigned kinds;
    } EVENTS[] = {{"resize", ORDER_KIND_SSH | ORDER_KIND_SHELL},
                  {"x11-forward", ORDER_KIND_SSH},
                  {"session.rejected", ORDER_KIND_SSH},
                  {"client.disconnect", EVERY_KIND}};
    for (size_t i = 0; i < sizeof(EVENTS) / sizeof(EVENTS[0]); i++) {
        if (strcmp(event, EVENTS[i].event) == 0) {
            return (EVENTS[i].kinds & (unsigned)kind) != 0;
        }
    }
    return false;
}
