/*
 * Guards in front of libssh (ld --wrap): what it would take from a client and come to harm by.
 *
 * A client says how large a packet it takes on a channel. libssh subtracts its own 10 bytes from that number without
 * looking: 10 makes it write empty packets for ever, less makes it write packets of any size (libssh 0.10 to 0.12).
 * RFC 4254 lets nobody expect less than some hundreds of bytes, so too small a number is not a client's honest wish.
 */
#include "session/carry.h"

#include <libssh/libssh.h>
#include <stdint.h>
#include <string.h>

#define PACKET_MIN 512u

int __real_ssh_packet_channel_open(ssh_session session, uint8_t type, ssh_buffer packet, void *user);
int __wrap_ssh_packet_channel_open(ssh_session session, uint8_t type, ssh_buffer packet, void *user);
int __real_ssh_packet_channel_open_conf(ssh_session session, uint8_t type, ssh_buffer packet, void *user);
int __wrap_ssh_packet_channel_open_conf(ssh_session session, uint8_t type, ssh_buffer packet, void *user);

static uint32_t get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

/* string type, u32 sender, u32 window, u32 packet size, ...: a name that nobody knows is refused like any other. */
int __wrap_ssh_packet_channel_open(ssh_session session, uint8_t type, ssh_buffer packet, void *user)
{
    uint8_t *data = ssh_buffer_get(packet);
    size_t size = ssh_buffer_get_len(packet);
    size_t name_size = size >= 4 ? get_u32(data) : 0;
    if (name_size > 0 && size >= 16 && name_size <= size - 16 && get_u32(data + 4 + name_size + 8) < PACKET_MIN) {
        memset(data + 4, '?', name_size);
    }
    ssh_buffer other = carry_open(packet);
    int rc = __real_ssh_packet_channel_open(session, type, other != NULL ? other : packet, user);
    if (other != NULL) {
        ssh_buffer_free(other);
    }
    return rc;
}

/* u32 recipient, u32 sender, u32 window, u32 packet size: the number is raised. */
int __wrap_ssh_packet_channel_open_conf(ssh_session session, uint8_t type, ssh_buffer packet, void *user)
{
    static const uint8_t RAISED[4] = {0, 0, PACKET_MIN >> 8, PACKET_MIN & 0xff};
    uint8_t *data = ssh_buffer_get(packet);
    if (ssh_buffer_get_len(packet) >= 16 && get_u32(data + 12) < PACKET_MIN) {
        memcpy(data + 12, RAISED, sizeof(RAISED));
    }
    return __real_ssh_packet_channel_open_conf(session, type, packet, user);
}
