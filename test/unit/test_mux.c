/* First bytes: ClientHello and PROXY headers, whole, in pieces and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "base/wire.h"
#include "protocols/mux/hello.h"
#include "protocols/worker_priv.h"
#include "protocols/mux/proxyproto.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* A ClientHello with these extensions, in records of at most record bytes. */
static void make_hello(struct buf *out, const void *extensions, size_t size, size_t record)
{
    struct buf body;
    struct buf message;
    size_t at = 0;
    static const uint8_t zeros[32];
    buf_init(&body, 0);
    buf_init(&message, 0);
    wr_u16(&body, 0x0303);
    wr_bytes(&body, zeros, 32);
    wr_u8(&body, 0);
    wr_u16(&body, 2);
    wr_u16(&body, 0x1301);
    wr_u8(&body, 1);
    wr_u8(&body, 0);
    wr_u16(&body, (uint16_t)size);
    wr_bytes(&body, extensions, size);
    wr_u8(&message, 1);
    wr_u8(&message, 0);
    wr_u16(&message, (uint16_t)buf_size(&body));
    wr_bytes(&message, buf_head(&body), buf_size(&body));
    while (at < buf_size(&message)) {
        size_t take = buf_size(&message) - at < record ? buf_size(&message) - at : record;
        wr_u8(out, 22);
        wr_u16(out, 0x0301);
        wr_u16(out, (uint16_t)take);
        wr_bytes(out, buf_head(&message) + at, take);
        at += take;
    }
    buf_free(&body);
    buf_free(&message);
}

static const uint8_t both[] = "\x00\x00\x00\x0d\x00\x0b\x00\x00\x08"
                              "Host.Exa"
                              "\x00\x10\x00\x0e\x00\x0c\x02h2\x08http/1.1";

static void hello_names_and_alpn(void **state)
{
    struct buf wire;
    struct hello hello;
    (void)state;
    for (size_t record = 1; record < 200; record += 13) {
        buf_init(&wire, 0);
        make_hello(&wire, both, sizeof(both) - 1, record);
        /* R9: every shorter prefix asks for more and never reads past its end. */
        for (size_t size = 0; size < buf_size(&wire); size++)
            assert_int_equal(hello_parse(buf_head(&wire), size, &hello), TP_AGAIN);
        assert_int_equal(hello_parse(buf_head(&wire), buf_size(&wire), &hello), TP_OK);
        assert_string_equal(hello.server_name, "host.exa");
        assert_true(hello_offers(&hello, "h2") && hello_offers(&hello, "http/1.1") &&
                    !hello_offers(&hello, "tport-ssh"));
        buf_free(&wire);
    }
}

static void hello_broken(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } extensions[] = {
        {"\x00\x00\x00\x05\x00\x03\x00\x00\x00", 9},      /* empty name */
        {"\x00\x00\x00\x06\x00\x04\x00\x00\x01\x00", 10}, /* NUL in the name */
        {"\x00\x00\x00\x0a\x00\x08\x00\x00\x01"
         "a\x00\x00\x01"
         "b",
         14}, /* two names */
        {"\x00\x00\x00\x09\x00\x04\x00\x00\x01"
         "axxx",
         13},                                 /* bytes behind the list */
        {"\x00\x10\x00\x02\x00\x00", 6},      /* empty ALPN list */
        {"\x00\x10\x00\x03\x00\x01\x00", 7},  /* empty ALPN name */
        {"\x00\x10\x00\x04\x00\x02\x05h", 8}, /* name past the end */
        {"\x00\x00\x00\x06\x00\x04\x00\x00\x01"
         "a\x00\x00\x00\x06\x00\x04\x00\x00\x01"
         "a",
         20},                    /* twice */
        {"\x00\x00\xff\xff", 4}, /* extension past the end */
    };
    struct hello hello;
    (void)state;
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        struct buf wire;
        buf_init(&wire, 0);
        make_hello(&wire, extensions[i].bytes, extensions[i].size, 16000);
        assert_int_equal(hello_parse(buf_head(&wire), buf_size(&wire), &hello), TP_PROTOCOL);
        buf_free(&wire);
    }
    assert_int_equal(hello_parse((const uint8_t *)"\x16\x02\x01\x00\x05", 5, &hello), TP_PROTOCOL);
    assert_int_equal(hello_parse((const uint8_t *)"\x16\x03\x01\x00\x00", 5, &hello), TP_PROTOCOL);
    assert_int_equal(hello_parse((const uint8_t *)"\x17", 1, &hello), TP_PROTOCOL);
    assert_int_equal(hello_parse((const uint8_t *)"\x16\x03\x01\x00\x04\x01\x01\x00\x00", 9, &hello), TP_TOO_LARGE);
}

static void proxy_headers(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum tp_err err;
        const char *address;
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 10.0.0.1 5000 443\r\n", 40, TP_OK, "192.0.2.1:5000"},
        {"PROXY TCP6 2001:db8::1 ::1 5000 443\r\n", 37, TP_OK, "[2001:db8::1]:5000"},
        {"PROXY UNKNOWN\r\n", 15, TP_OK, NULL},
        {"PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n", 41, TP_PROTOCOL, NULL},
        {"PROXY TCP4 192.0.2.1 10.0.0.1 05 443\r\n", 38, TP_PROTOCOL, NULL},
        {"PROXY TCP4 192.0.2.1 10.0.0.1  5000 443\r\n", 41, TP_PROTOCOL, NULL},
        {"PROXY TCP4 192.0.2.256 10.0.0.1 5000 443\r\n", 42, TP_PROTOCOL, NULL},
        {"PROXY UDP4 192.0.2.1 10.0.0.1 5000 443\r\n", 40, TP_PROTOCOL, NULL},
        {"PROXY TCP4 192.0.2.1 10.0.0.1 5000 443\n", 39, TP_PROTOCOL, NULL},
        {"PROXX ", 6, TP_PROTOCOL, NULL},
        {"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x13\x88\x01\xbb", 28, TP_OK,
         "192.0.2.1:5000"},
        {"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", 16, TP_OK, NULL},
        {"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c\xc0\x00\x02\x01\x0a\x00\x00\x01\x13\x88\x01\xbb", 28, TP_PROTOCOL, NULL},
        {"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02\xc0\x00", 18, TP_PROTOCOL, NULL},
        {"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", 16, TP_PROTOCOL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct proxyproto header;
        char text[ADDRESS_TEXT_SIZE];
        assert_int_equal(proxyproto_parse((const uint8_t *)rows[i].bytes, rows[i].size, &header), rows[i].err);
        if (rows[i].err != TP_OK)
            continue;
        assert_int_equal(header.size, rows[i].size);
        assert_int_equal(header.local, rows[i].address == NULL);
        if (rows[i].address) {
            address_format((const struct sockaddr *)&header.source, text);
            assert_string_equal(text, rows[i].address);
        }
        for (size_t size = 0; size < rows[i].size; size++)
            assert_int_equal(proxyproto_parse((const uint8_t *)rows[i].bytes, size, &header), TP_AGAIN);
    }
}

static void ranges(void **state)
{
    struct cidr cidr;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    (void)state;
    assert_int_equal(inet_pton(AF_INET, "10.1.2.3", &in.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.1.2.3", &in6.sin6_addr), 1);
    assert_int_equal(cidr_parse("10.0.0.0/8", &cidr), TP_OK);
    assert_true(cidr_contains(&cidr, (struct sockaddr *)&in) && cidr_contains(&cidr, (struct sockaddr *)&in6));
    assert_int_equal(cidr_parse("10.1.2.2/31", &cidr), TP_OK);
    assert_true(cidr_contains(&cidr, (struct sockaddr *)&in));
    assert_int_equal(cidr_parse("10.1.2.4/30", &cidr), TP_OK);
    assert_false(cidr_contains(&cidr, (struct sockaddr *)&in));
    assert_int_equal(cidr_parse("fd00::/8", &cidr), TP_OK);
    assert_false(cidr_contains(&cidr, (struct sockaddr *)&in6));
    assert_int_equal(cidr_parse("10.0.0.0/33", &cidr), TP_INVALID);
    assert_int_equal(cidr_parse("10.0.0.0/", &cidr), TP_INVALID);
    assert_int_equal(cidr_parse("example", &cidr), TP_INVALID);
}

/* R15: what an agent says in its rpc stream carries its own certificate, and only what agents need goes through. */
static void r15_methods_of_agents(void **state)
{
    (void)state;
    assert_true(tunnels_is_agent_method("host.heartbeat") && tunnels_is_agent_method("recording.append"));
    assert_false(tunnels_is_agent_method("tunnel.up") || tunnels_is_agent_method("tunnel.down"));
    assert_false(tunnels_is_agent_method("host.join_local") || tunnels_is_agent_method("ssh.connect"));
    assert_false(tunnels_is_agent_method("") || tunnels_is_agent_method("host.renew "));
}

static void source_of(const char *text, char out[INET6_ADDRSTRLEN])
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        address_source((const struct sockaddr *)(const void *)&in, out);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        address_source((const struct sockaddr *)(const void *)&in6, out);
    }
}

static void r9_half_open_counts_an_ipv6_network_as_one_source(void **state)
{
    char one[INET6_ADDRSTRLEN];
    char two[INET6_ADDRSTRLEN];
    (void)state;
    source_of("2001:db8:0:1::1", one);
    source_of("2001:db8:0:1:ffff:ffff:ffff:ffff", two);
    assert_string_equal(one, two);
    source_of("2001:db8:0:2::1", two);
    assert_string_not_equal(one, two);
    /* IPv4 on an IPv6 socket is not one network. */
    source_of("::ffff:192.0.2.1", one);
    assert_string_equal(one, "192.0.2.1");
    source_of("192.0.2.1", two);
    assert_string_equal(one, two);
    source_of("::ffff:192.0.2.2", two);
    assert_string_not_equal(one, two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_names_and_alpn),
        cmocka_unit_test(hello_broken),
        cmocka_unit_test(proxy_headers),
        cmocka_unit_test(ranges),
        cmocka_unit_test(r9_half_open_counts_an_ipv6_network_as_one_source),
        cmocka_unit_test(r15_methods_of_agents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
