/* X.509 certificates from a stranger, as DER and as PEM. */
#include "base/mem.h"
#include "crypt/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity identity;
    struct buf der;
    char *text = mem_strndup((const char *)data, size), *pin = NULL;
    int64_t when;
    identity_init(&identity);
    if (x509_read(data, size, &identity, NULL) == TP_OK) {
        if (!identity.name || !identity.cluster)
            __builtin_trap();
        identity_free(&identity);
    }
    if (x509_check(data, size, text, 1790000000, &identity, NULL) == TP_OK)
        identity_free(&identity);
    buf_init(&der, 0);
    if (x509_pem_to_der(text, size, &der, NULL) == TP_OK &&
        x509_check(buf_head(&der), buf_size(&der), text, 1790000000, &identity, NULL) == TP_OK)
        identity_free(&identity); /* fine: the text may hold its own CA */
    if (x509_pin(text, &pin, NULL) == TP_OK)
        mem_free(pin);
    (void)(x509_not_after(text, &when, NULL) == TP_OK);
    buf_free(&der);
    mem_free(text);
    return 0;
}
