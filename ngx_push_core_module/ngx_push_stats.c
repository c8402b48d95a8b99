
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_stats.h"


const char  *ngx_push_drop_names[NGX_PUSH_DROPS] = {
    "expired",
    "limit",
    "zone_full",
    "too_large",
    "packet_size",
    "offline",
    "malformed",
    "protocol",
    "unknown_ack",
    "denied",
    "token_expired",
    "keepalive",
    "slow",
    "connect_timeout",
    "taken_over",
    "evicted",
    "idempotency_keys"
};


const char  *ngx_push_conn_names[NGX_PUSH_CONNS] = {
    "mqtt3",
    "mqtt3_tls",
    "mqtt5",
    "mqtt5_tls",
    "handshake"
};


const char  *ngx_push_redis_error_names[NGX_PUSH_REDIS_ERRORS] = {
    "down",
    "loading",
    "readonly",
    "cluster",
    "busy",
    "oom",
    "denied",
    "other"
};


const char  *ngx_push_journal_drop_names[NGX_PUSH_JOURNAL_DROPS] = {
    "full",
    "refused",
    "corrupt"
};
