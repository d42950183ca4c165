/*
 * A client that wants a node: the name of the node is in the SNI, and SSH goes from end to end (target_front.h).
 *
 * A refusal is a line that comes before any "SSH-" line, where RFC 4253 section 4.2 lets a server say other things: "tport: "
 * and a sentence; "tport: mfa_needed: " and a sentence when a one-time code would open the node. Clients show such lines to
 * nobody, so for those that come without `tport` a greeting and SSH_MSG_DISCONNECT with the sentence follow. The client's
 * certificate is proven by then; a stranger ends in the TLS handshake.
 */
#include "protocols/target_front.h"

#include "base/enc.h"

#include <ctype.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

enum tp_err ssh_front_target(const char *server_name, const char *cluster, char *ret_name, size_t size)
{
    static const char middle[] = ".node.";
    size_t length = strlen(server_name);
    size_t tail = strlen(cluster) + sizeof(middle) - 1;
    char hex[256];
    size_t used = 0;
    struct buf name;
    enum tp_err err = TP_INVALID;

    if (length <= tail || strcasecmp(server_name + length - strlen(cluster), cluster) != 0 ||
        strncmp(server_name + length - tail, middle, sizeof(middle) - 1) != 0)
        return TP_INVALID;
    /* Long names are split into several labels. */
    for (size_t i = 0; i < length - tail && used < sizeof(hex) - 1; i++) {
        if (server_name[i] != '.')
            hex[used++] = (char)tolower((unsigned char)server_name[i]);
    }
    buf_init(&name, size - 1);
    if (used > 0 && dec_hex(hex, used, &name) == TP_OK && buf_size(&name) > 0 &&
        memchr(buf_head(&name), 0, buf_size(&name)) == NULL) {
        memcpy(ret_name, buf_head(&name), buf_size(&name));
        ret_name[buf_size(&name)] = 0;
        err = TP_OK;
    }
    buf_free(&name);
    return err;
}

#define MSG_DISCONNECT 1
#define DISCONNECT_BY_APPLICATION 11
#define PACKET_BLOCK 8 /* without a cipher, RFC 4253 section 6 */
#define PADDING_MIN 4

static size_t put_u32(uint8_t *out, size_t value)
{
    uint32_t wire = htobe32((uint32_t)value);
    memcpy(out, &wire, sizeof(wire));
    return sizeof(wire);
}

/* SSH_MSG_DISCONNECT as a packet before the key exchange. */
static void write_disconnect(struct stream *stream, const char *sentence)
{
    uint8_t packet[1024 + 64] = {0};
    size_t length = strlen(sentence);
    size_t at = sizeof(uint32_t) + 1;
    packet[at++] = MSG_DISCONNECT;
    at += put_u32(packet + at, DISCONNECT_BY_APPLICATION);
    at += put_u32(packet + at, length);
    memcpy(packet + at, sentence, length);
    at += length;
    at += put_u32(packet + at, 0); /* language */
    size_t padding = PACKET_BLOCK - at % PACKET_BLOCK;
    padding += padding < PADDING_MIN ? PACKET_BLOCK : 0;
    (void)put_u32(packet, at + padding - sizeof(uint32_t));
    packet[sizeof(uint32_t)] = (uint8_t)padding;
    stream_write(stream, packet, at + padding);
}

static void say(struct stream *stream, enum close_reason reason, const char *sentence)
{
    static const char greeting[] = "SSH-2.0-tport\r\n";
    char line[1024];
    char text[900];
    (void)snprintf(text, sizeof(text), "%s", sentence);
    int length =
        snprintf(line, sizeof(line), "tport: %s%s\r\n", reason == CLOSE_MFA_NEEDED ? "mfa_needed: " : "", text);
    stream_write(stream, line, (size_t)length);
    stream_write(stream, greeting, sizeof(greeting) - 1);
    write_disconnect(stream, text);
}

static void refuse(struct target_front *front, enum close_reason reason, enum tp_err code, const char *sentence)
{
    (void)code;
    say(target_front_stream(front), reason, sentence);
    target_front_linger(front, reason);
}

static const struct target_kind ssh_kind = {
    .stream = "ssh",
    .method = "ssh.connect",
    .last_word = true,
    .offline = "the node is offline: its agent has no tunnel to this proxy now",
    .refuse = refuse,
    .say = say,
};

void ssh_front_serve(struct worker *worker, struct stream *stream, const struct peer *peer)
{
    char target[256];
    enum tp_err err = ssh_front_target(peer->server_name, worker->cluster_name, target, sizeof(target));
    struct target_front *front = target_front_new(worker, stream, peer, &ssh_kind, err == TP_OK ? target : "");
    if (err == TP_OK)
        target_front_ask(front);
    else
        target_front_refuse(
            front, CLOSE_NO_ROUTE, TP_INVALID,
            "the server name (SNI) must be <hex of the node's name>.node.<cluster>; tport config writes it for you");
}
