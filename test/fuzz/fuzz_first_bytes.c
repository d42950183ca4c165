/* What strangers send first: ClientHello and PROXY headers. */
#include "protocols/mux/hello.h"
#include "protocols/mux/proxyproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hello hello;
    struct proxyproto header;
    (void)!hello_parse(data, size, &hello);
    (void)!proxyproto_parse(data, size, &header);
    return 0;
}
