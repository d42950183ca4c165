#include "session/carry.h"

#include "session/modes.h"

#include <libssh/libssh.h>
#include <stdint.h>
#include <string.h>

#define MARK_PATH '\x01' /* before a path; a client's own is taken away */
#define MARK_MODES ' '   /* after a terminal's name; a client's own makes the rest no hex, which is refused */
#define NAME_MAX 256     /* of a terminal, before it is looked at closely */

int __real_ssh_message_handle_channel_request(ssh_session session, ssh_channel channel, ssh_buffer packet,
                                              const char *request, uint8_t want_reply);
int __wrap_ssh_message_handle_channel_request(ssh_session session, ssh_channel channel, ssh_buffer packet,
                                              const char *request, uint8_t want_reply);

static uint32_t get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* The string at *place, with its size; false when it is cut short. *place and *left move behind it. */
static bool take_string(const uint8_t **place, size_t *left, const uint8_t **ret_data, size_t *ret_size)
{
    size_t size = *left >= 4 ? get_u32(*place) : 0;
    if (*left < 4 || size > *left - 4) {
        return false;
    }
    *ret_data = *place + 4;
    *ret_size = size;
    *place += 4 + size;
    *left -= 4 + size;
    return true;
}

static bool put_u32(ssh_buffer out, uint32_t value)
{
    const uint8_t data[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    return ssh_buffer_add_data(out, data, sizeof(data)) == 0;
}

static bool put_string(ssh_buffer out, const void *data, size_t size)
{
    return put_u32(out, (uint32_t)size) && (size == 0 || ssh_buffer_add_data(out, data, (uint32_t)size) == 0);
}

/* ---- sockets ---- */

const char *carry_socket_path(const char *destination)
{
    return destination != NULL && destination[0] == MARK_PATH ? destination + 1 : NULL;
}

static bool name_is(const uint8_t *data, size_t size, const char *name)
{
    return size == strlen(name) && memcmp(data, name, size) == 0;
}

static bool path_is_sane(const uint8_t *path, size_t size)
{
    bool sane = size > 1 && size <= CARRY_PATH_MAX && path[0] == '/';
    for (size_t i = 0; sane && i < size; i++) {
        sane = path[i] >= ' ' && path[i] != 0x7f; /* it goes to the log and to people */
    }
    return sane;
}

/* string type, u32 sender, u32 window, u32 packet size; then string path, ... or string destination, ... */
ssh_buffer carry_open(ssh_buffer packet)
{
    static const char TCP[] = "direct-tcpip";
    const uint8_t *at = ssh_buffer_get(packet);
    const uint8_t *type = NULL;
    const uint8_t *where = NULL;
    size_t left = ssh_buffer_get_len(packet);
    size_t type_size = 0;
    size_t where_size = 0;
    if (!take_string(&at, &left, &type, &type_size) || left < 12) {
        return NULL;
    }
    const uint8_t *numbers = at;
    at += 12;
    left -= 12;
    bool path = name_is(type, type_size, "direct-streamlocal@openssh.com");
    if ((!path && !name_is(type, type_size, TCP)) || !take_string(&at, &left, &where, &where_size)) {
        return NULL;
    }
    if (!path && (where_size == 0 || where[0] != (uint8_t)MARK_PATH)) {
        return NULL;
    }
    uint8_t marked[1 + CARRY_PATH_MAX] = {(uint8_t)MARK_PATH};
    bool sane = path && path_is_sane(where, where_size);
    if (sane) {
        memcpy(marked + 1, where, where_size);
    }
    ssh_buffer out = ssh_buffer_new();
    bool ok = out != NULL && (sane ? put_string(out, TCP, strlen(TCP)) : put_string(out, "?", 1)) &&
              ssh_buffer_add_data(out, numbers, 12) == 0 &&
              (!sane || (put_string(out, marked, 1 + where_size) && put_u32(out, 0) && put_string(out, "", 0) &&
                         put_u32(out, 0)));
    if (!ok && out != NULL) {
        ssh_buffer_free(out);
        out = NULL;
    }
    return out;
}

/* ---- terminal modes ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool carry_terminal(const char *term, size_t *ret_size, json_t **ret_modes)
{
    uint8_t bytes[MODES_MAX_BYTES];
    const char *mark = strchr(term, MARK_MODES);
    *ret_modes = NULL;
    *ret_size = mark == NULL ? strlen(term) : (size_t)(mark - term);
    if (mark == NULL) {
        return true;
    }
    const char *hex = mark + 1;
    size_t size = strlen(hex) / 2;
    if (strlen(hex) % 2 != 0 || size > sizeof(bytes)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_modes = modes_read(bytes, size);
    return *ret_modes != NULL;
}

/* string TERM, u32 x 4, string modes. NULL: not of this form, or longer than anything honest. */
static ssh_buffer carry_pty(ssh_buffer packet)
{
    static const char HEX[] = "0123456789abcdef";
    char longer[NAME_MAX + 1 + 2 * MODES_MAX_BYTES];
    const uint8_t *at = ssh_buffer_get(packet);
    const uint8_t *name = NULL;
    const uint8_t *modes = NULL;
    size_t left = ssh_buffer_get_len(packet);
    size_t name_size = 0;
    size_t modes_size = 0;
    if (!take_string(&at, &left, &name, &name_size) || left < 16) {
        return NULL;
    }
    const uint8_t *numbers = at;
    at += 16;
    left -= 16;
    if (!take_string(&at, &left, &modes, &modes_size) || name_size > NAME_MAX || modes_size > MODES_MAX_BYTES) {
        return NULL;
    }
    memcpy(longer, name, name_size);
    size_t size = name_size;
    longer[size++] = MARK_MODES;
    for (size_t i = 0; i < modes_size; i++) {
        longer[size++] = HEX[modes[i] >> 4];
        longer[size++] = HEX[modes[i] & 15];
    }
    ssh_buffer out = ssh_buffer_new();
    bool ok = out != NULL && put_string(out, longer, size) && ssh_buffer_add_data(out, numbers, 16) == 0 &&
              put_string(out, "", 0);
    if (!ok && out != NULL) {
        ssh_buffer_free(out);
        out = NULL;
    }
    return out;
}

int __wrap_ssh_message_handle_channel_request(ssh_session session, ssh_channel channel, ssh_buffer packet,
                                              const char *request, uint8_t want_reply)
{
    ssh_buffer longer = strcmp(request, "pty-req") == 0 ? carry_pty(packet) : NULL;
    int rc = __real_ssh_message_handle_channel_request(session, channel, longer != NULL ? longer : packet, request,
                                                       want_reply);
    if (longer != NULL) {
        ssh_buffer_free(longer);
    }
    return rc;
}
