/*
 * How much of auth's time a host may take. A report that is new is written, and sessions are decided anew; a renewal is signed and
 * logged. A host that has been taken over could ask for that without end, and the others would wait (R15).
 */
#include "auth/hosts.h"
#include "auth/inner.h"

#define CREDIT_MAX_MS ((int64_t)60 * 1000) /* of work at once; it comes back with the time */

enum tp_err hosts_spend(struct host *host, int64_t cost_ms, struct tp_error *error)
{
    int64_t now = clock_mono_ms();
    int64_t credit = host->reported_ms == 0 ? CREDIT_MAX_MS : host->credit_ms + now - host->reported_ms;
    host->credit_ms = credit > CREDIT_MAX_MS ? CREDIT_MAX_MS : credit;
    host->reported_ms = now > 0 ? now : 1;
    if (host->credit_ms < cost_ms) {
        return err_set(error, TP_LIMIT, "this host reports too often; it is heard again in a few seconds");
    }
    host->credit_ms -= cost_ms;
    return TP_OK;
}
