/* SSH certificates from a stranger, as a blob and as a line. */
#include "base/mem.h"
#include "crypt/sshcert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sshcert cert;
    struct buf blob;
    char *line = mem_strndup((const char *)data, size);
    if (sshcert_parse(data, size, &cert, NULL) == TP_OK) {
        if (cert.principal_count == 0)
            __builtin_trap();
        sshcert_free(&cert);
    }
    buf_init(&blob, 0);
    if (sshcert_blob(line, &blob, NULL) == TP_OK) {
        const char *const none[] = {NULL};
        if (sshcert_check(buf_head(&blob), buf_size(&blob), false, none, 0, "root", "10.0.0.1", &cert, NULL) == TP_OK)
            __builtin_trap(); /* no CA is trusted */
    }
    buf_free(&blob);
    mem_free(line);
    return 0;
}
