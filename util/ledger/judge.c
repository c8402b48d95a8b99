
/*
 * Copyright (C) the ngx_push authors
 */


#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define SHOWN  10                      /* faults told in detail */
#define LIVES  16                      /* incarnations of a log looked back */


/* What a device had of a log: the last of each incarnation. */

typedef struct {
    message_t  *last[LIVES];
    uint32_t    n;
} life_t;


static int  losses;                    /* of the store, as we were told */


static int
member(device_t *d, uint32_t group)
{
    uint32_t  i;

    for (i = 0; i < d->ngroups; i++) {
        if (d->groups[i] == group) {
            return 1;
        }
    }

    return 0;
}


/* Is it for this device, whenever it was sent? */

static int
meant(device_t *d, message_t *m)
{
    switch (m->target) {

    case TO_USER:
        return d->user == m->number;

    case TO_GROUP:
        return member(d, m->number);

    default:
        return 1;
    }
}


/* Must it have it?  Who was not known yet has no right to it. */

static int
owed(device_t *d, message_t *m)
{
    return m->outcome == OK && d->known != 0 && d->known < m->sent
           && meant(d, m) && !d->waived[m - messages];
}


void
judge_double(message_t *m)
{
    counters.doubled += !m->doubled;
    m->doubled = 1;
}


void
judge_loss(double seconds, double told)
{
    uint32_t    i, n;
    device_t   *d;
    message_t  *m;

    losses++;

    for (n = 0; n < nsent; n++) {
        m = &messages[n];

        if (m->outcome == REFUSED
            || (m->answered && m->answered < now - seconds))
        {
            continue;
        }

        for (i = 0; i < options.devices; i++) {
            d = &devices[i];

            if (d->got[n] || !meant(d, m)
                || (m->outcome == OK && m->answered < now - told
                    && d->state == BOUND && d->since < m->sent))
            {
                continue;
            }

            d->waived[n] = 1;
        }
    }
}


static const char *
wrong(device_t *d, publish_t *p, message_t *m, uint32_t number)
{
    char  buf[LEDGER_SIZE_MAX + 1];

    if (!meant(d, m)) {
        return "is not for it";
    }

    if (message_topic(number, buf) != p->topic_len
        || memcmp(buf, p->topic, p->topic_len) != 0)
    {
        return "has another topic";
    }

    message_body(number, buf);

    if (p->size != m->size || memcmp(buf, p->payload, p->size) != 0) {
        return "has another payload";
    }

    if (p->qos != 1) {
        return "has another QoS";
    }

    if (d->version == 5 && p->incarnation == 0) {
        return "has no id";
    }

    if (p->incarnation && m->incarnation
        && (p->incarnation != m->incarnation || p->seq != m->seq))
    {
        /* a restore may append what a log that began anew has not got */

        if (m->tries <= 1 && !losses) {
            return "has another id than before";
        }

        judge_double(m);
    }

    return NULL;
}


void
judge_delivery(device_t *d, publish_t *p)
{
    char         buf[16], *end;
    message_t   *m;
    uint32_t     number;
    const char  *why;

    counters.deliveries++;
    counters.dups += p->dup;

    if (options.wills && p->size == strlen(WILL)
        && memcmp(p->payload, WILL, p->size) == 0)
    {
        counters.wills++;
        return;
    }

    memset(buf, 0, sizeof(buf));
    memcpy(buf, p->payload, p->size < 15 ? p->size : 15);
    number = strtoul(buf, &end, 10);

    if (end == buf || *end != ' ' || number >= nsent) {
        counters.strange++;
        complain("device %u: a message of nobody", d->index);
        return;
    }

    m = &messages[number];
    why = wrong(d, p, m, number);

    if (why) {
        counters.strange++;
        complain("device %u: message %u %s", d->index, number, why);
    }

    if (p->incarnation && m->incarnation == 0) {
        m->incarnation = p->incarnation;
        m->seq = p->seq;
    }

    if (d->got[number] != 255) {
        d->got[number]++;
    }

    if (d->got[number] > 1) {
        counters.duplicates++;
        return;
    }

    d->order[d->norder++] = number;
    counters.news = now;

    if (m->answered != 0 && now - m->answered > counters.slowest) {
        counters.slowest = now - m->answered;
    }
}


uint64_t
judge_missing(void)
{
    uint32_t  i, n;
    uint64_t  missing;

    missing = 0;

    for (n = 0; n < nsent; n++) {
        for (i = 0; i < options.devices; i++) {
            missing += !devices[i].got[n] && owed(&devices[i], &messages[n]);
        }
    }

    return missing;
}


static uint64_t
judge_lost(uint64_t *debts)
{
    double      start;
    uint32_t    i, n;
    uint64_t    lost;
    device_t   *d;
    message_t  *m;

    lost = 0;
    *debts = 0;
    start = nsent ? messages[0].sent : 0;

    for (n = 0; n < nsent; n++) {
        m = &messages[n];

        for (i = 0; i < options.devices; i++) {
            d = &devices[i];

            if (!owed(d, m)) {
                continue;
            }

            (*debts)++;

            if (d->got[n] == 0 && lost++ < SHOWN) {
                printf("lost: message %u (target %u %u, id %lx-%lu, sent "
                       "%.3f, answered %.3f) to device %u (MQTT %u, clean "
                       "%u, known %.3f, last cut %.3f, connects %u)\n",
                       n, m->target, m->number,
                       (unsigned long) m->incarnation,
                       (unsigned long) m->seq, m->sent - start,
                       m->answered - start, i, d->version, d->clean,
                       d->known - start, d->cut - start, d->connects);
            }
        }
    }

    return lost;
}


/*
 * What it must come after: the last message of its incarnation that the device
 * had, or of a later one.  Once a store has lost something, a log may go on in
 * a new incarnation while a node still has the rest of the old one: then each
 * is a log of its own.
 */

static message_t *
judge_before(life_t *life, message_t *m)
{
    uint32_t    i;
    message_t  *before;

    for (i = life->n; i-- > 0; ) {
        before = life->last[i];

        if (before->incarnation == m->incarnation
            || (!losses && before->incarnation > m->incarnation))
        {
            life->last[i] = m;
            return before;
        }
    }

    if (life->n < LIVES) {
        life->n++;

    } else {
        memmove(life->last, life->last + 1, (LIVES - 1) * sizeof(message_t *));
    }

    life->last[life->n - 1] = m;

    return NULL;
}


/*
 * The first deliveries of a log to a device, by incarnation and sequence
 * number.  A device has one inbox and one broadcast log besides its groups.
 */

static uint64_t
judge_order(uint64_t *changes)
{
    life_t      life[2 + LEDGER_MEMBERSHIP];
    uint32_t    i, k, g;
    uint64_t    faults;
    device_t   *d;
    message_t  *m, *before;

    faults = 0;
    *changes = 0;

    for (i = 0; i < options.devices; i++) {
        d = &devices[i];
        memset(life, 0, sizeof(life));

        for (k = 0; k < d->norder; k++) {
            m = &messages[d->order[k]];

            if (m->incarnation == 0 || m->doubled || !meant(d, m)) {
                continue;
            }

            g = m->target == TO_USER ? 0 : 1;

            if (m->target == TO_GROUP) {
                for (g = 0; d->groups[g] != m->number; g++) { /* void */ }
                g += 2;
            }

            before = judge_before(&life[g], m);
            *changes += before == NULL && life[g].n > 1;

            if (before
                && (m->incarnation != before->incarnation
                    || m->seq <= before->seq)
                && faults++ < SHOWN)
            {
                printf("order: device %u (MQTT %u) had message %u (%lx-%lu) "
                       "before %u (%lx-%lu)\n", i, d->version,
                       (unsigned) (before - messages),
                       (unsigned long) before->incarnation,
                       (unsigned long) before->seq,
                       (unsigned) (m - messages),
                       (unsigned long) m->incarnation,
                       (unsigned long) m->seq);
            }
        }
    }

    return faults;
}


static uint64_t
judge_refused(void)
{
    uint32_t  i, n;
    uint64_t  faults;

    faults = 0;

    for (n = 0; n < nsent; n++) {

        if (messages[n].outcome != REFUSED) {
            continue;
        }

        for (i = 0; i < options.devices; i++) {
            if (devices[i].got[n] && faults++ < SHOWN) {
                printf("refused: message %u was answered %u, but device %u "
                       "got it\n", n, messages[n].status, i);
            }
        }
    }

    return faults;
}


/* The longest time without any push being accepted. */

static double
judge_gap(void)
{
    double    gap, last, *times;
    uint32_t  n, i, k;

    times = malloc((nsent + 1) * sizeof(double));

    for (n = 0, k = 0; n < nsent; n++) {

        if (messages[n].outcome != OK) {
            continue;
        }

        /* nearly sorted */

        for (i = k++; i && times[i - 1] > messages[n].answered; i--) {
            times[i] = times[i - 1];
        }

        times[i] = messages[n].answered;
    }

    last = nsent ? messages[0].sent : 0;

    for (i = 0, gap = 0; i < k; i++) {
        gap = times[i] - last > gap ? times[i] - last : gap;
        last = times[i];
    }

    free(times);

    return gap;
}


static uint64_t
judge_waived(void)
{
    uint32_t   i, n;
    uint64_t   waived;
    device_t  *d;

    for (i = 0, waived = 0; i < options.devices; i++) {
        d = &devices[i];

        for (n = 0; n < nsent; n++) {
            waived += d->waived[n] && d->got[n] == 0 && d->known
                      && d->known < messages[n].sent
                      && messages[n].outcome == OK;
        }
    }

    return waived;
}


static void
judge_record(void)
{
    FILE               *f;
    uint32_t            n, i, got;
    message_t          *m;
    static const char  *names[] = { "not sent", "ok", "refused", "unknown" };
    static const char  *kinds[] = { "user", "group", "all" };

    f = fopen(options.record, "w");

    if (f == NULL) {
        complain("cannot write \"%s\"", options.record);
        return;
    }

    for (n = 0; n < nsent; n++) {
        m = &messages[n];

        for (i = 0, got = 0; i < options.devices; i++) {
            got += devices[i].got[n] != 0;
        }

        fprintf(f, "%u %lx-%lu %s %u %.6f %.6f %s %u %u\n", n,
                (unsigned long) m->incarnation, (unsigned long) m->seq,
                kinds[m->target], m->number, m->sent, m->answered,
                names[m->outcome], m->status, got);
    }

    fclose(f);
}


int
judge(void)
{
    uint32_t  n, outcomes[4];
    uint64_t  debts, lost, order, refused, changes;

    memset(outcomes, 0, sizeof(outcomes));

    for (n = 0; n < nsent; n++) {
        outcomes[messages[n].outcome]++;
    }

    if (options.record) {
        judge_record();
    }

    lost = judge_lost(&debts);
    order = judge_order(&changes);
    refused = judge_refused();

    printf("rest devices=%u bound=%u known=%u published=%u ok=%u refused=%u "
           "unknown=%u owed=%lu lost=%lu disorder=%lu appeared=%lu "
           "strange=%lu deliveries=%lu duplicates=%lu dup=%lu cuts=%lu "
           "rejected=%lu stale=%lu resumed=%lu takeovers=%lu wills=%lu "
           "slowest=%.3f moves=%lu incarnations=%lu waived=%lu repeats=%lu "
           "replayed=%lu doubled=%lu gap=%.3f\n",
           options.devices, devices_bound(), devices_known(), nsent,
           outcomes[OK], outcomes[REFUSED], outcomes[UNKNOWN],
           (unsigned long) debts, (unsigned long) lost,
           (unsigned long) order, (unsigned long) refused,
           (unsigned long) counters.strange,
           (unsigned long) counters.deliveries,
           (unsigned long) counters.duplicates, (unsigned long) counters.dups,
           (unsigned long) counters.cuts, (unsigned long) counters.refused,
           (unsigned long) counters.stale, (unsigned long) counters.resumed,
           (unsigned long) counters.takeovers,
           (unsigned long) counters.wills, counters.slowest,
           (unsigned long) counters.moves, (unsigned long) changes,
           (unsigned long) judge_waived(), (unsigned long) counters.repeats,
           (unsigned long) counters.replayed,
           (unsigned long) counters.doubled, judge_gap());

    return lost || order || refused || counters.strange
           || devices_bound() != options.devices || outcomes[OK] == 0;
}
