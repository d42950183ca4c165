#include "session/open_refuse.h"

#include <libssh/server.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MESSAGE_OPEN_FAILURE 92 /* SSH_MSG_CHANNEL_OPEN_FAILURE */
#define REASON_MAX 500

int ssh_buffer_pack_va(ssh_buffer buffer, const char *format, size_t count, va_list values);
int __wrap__ssh_buffer_pack(ssh_buffer buffer, const char *format, size_t count, ...);

struct refusal {
    enum open_refusal code;
    const char *reason;
};

/* What libssh is refusing just now, else NULL: set for the length of one call, in a process of one thread. There is no way
 * from libssh's writer of packets back to its caller but this. */
static const struct refusal *refusing;

static bool put_u32(ssh_buffer out, uint32_t value)
{
    const uint8_t data[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    return ssh_buffer_add_data(out, data, sizeof(data)) == 0;
}

/* byte type, u32 recipient, u32 reason code, string description, string language */
static int put_failure(ssh_buffer out, uint32_t recipient)
{
    const uint8_t type = MESSAGE_OPEN_FAILURE;
    uint32_t size = (uint32_t)strnlen(refusing->reason, REASON_MAX);
    bool ok = ssh_buffer_add_data(out, &type, 1) == 0 && put_u32(out, recipient) &&
              put_u32(out, (uint32_t)refusing->code) && put_u32(out, size) &&
              (size == 0 || ssh_buffer_add_data(out, refusing->reason, size) == 0) && put_u32(out, 0);
    return ok ? SSH_OK : SSH_ERROR;
}

/* Stands in front of libssh's writer of packets: its refusal is "bdddd" (type, recipient, code, two empty strings). */
int __wrap__ssh_buffer_pack(ssh_buffer buffer, const char *format, size_t count, ...)
{
    va_list values;
    int rc;
    va_start(values, count);
    if (refusing != NULL && strcmp(format, "bdddd") == 0) {
        int type = va_arg(values, int);
        rc = type == MESSAGE_OPEN_FAILURE ? put_failure(buffer, va_arg(values, uint32_t)) : SSH_ERROR;
    } else {
        rc = ssh_buffer_pack_va(buffer, format, count, values);
    }
    va_end(values);
    return rc;
}

void open_refuse(ssh_message message, enum open_refusal code, const char *reason)
{
    const struct refusal refusal = {code, reason};
    refusing = &refusal;
    (void)ssh_message_reply_default(message);
    refusing = NULL;
    ssh_message_free(message);
}
