
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_metrics.h"
#include "ngx_push_cluster.h"


/*
 * What this node knows of the others and of Redis.  Nothing of it is written
 * by a node that is alone.
 */


static void ngx_push_metrics_known(ngx_push_metrics_out_t *out);
static void ngx_push_metrics_lease(ngx_push_metrics_out_t *out);
static void ngx_push_metrics_reflush(ngx_push_metrics_out_t *out);


static ngx_push_metrics_counter_t  ngx_push_metrics_node_counters[] = {

    { "ngx_push_heartbeats_total",
      "Heartbeats of this node that Redis has answered.",
      offsetof(ngx_push_stats_t, beats) },

    { "ngx_push_heartbeat_failures_total",
      "Heartbeats of this node that Redis did not answer.",
      offsetof(ngx_push_stats_t, beats_failed) },

    { "ngx_push_bus_sent_entries_total",
      "Entries added to the bus of other nodes.",
      offsetof(ngx_push_stats_t, bus_out) },

    { "ngx_push_bus_sent_frames_total",
      "Messages and orders in the entries sent.",
      offsetof(ngx_push_stats_t, bus_out_frames) },

    { "ngx_push_bus_failed_entries_total",
      "Entries that could not be added at once and are sent again.",
      offsetof(ngx_push_stats_t, bus_failed) },

    { "ngx_push_bus_dropped_entries_total",
      "Entries given up, for which the node is told to compare its logs.",
      offsetof(ngx_push_stats_t, bus_dropped) },

    { "ngx_push_bus_received_entries_total",
      "Entries read from this node's bus.",
      offsetof(ngx_push_stats_t, bus_in) },

    { "ngx_push_bus_received_frames_total",
      "Messages and orders in the entries read.",
      offsetof(ngx_push_stats_t, bus_in_frames) },

    { "ngx_push_bus_unreadable_entries_total",
      "Entries read that are none of ours.",
      offsetof(ngx_push_stats_t, bus_in_bad) },

    { "ngx_push_bus_gaps_total",
      "Times that entries of this node's bus were missing.",
      offsetof(ngx_push_stats_t, bus_gaps) },

    { "ngx_push_checks_total",
      "Times that all logs had to be compared with the store.",
      offsetof(ngx_push_stats_t, checks) },

    { "ngx_push_kicks_total",
      "Devices that came here from another node that had them.",
      offsetof(ngx_push_stats_t, kicks) },

    { "ngx_push_kicks_unanswered_total",
      "Of them, those that the other node did not release in time.",
      offsetof(ngx_push_stats_t, kicks_late) },

    { "ngx_push_reflush_sessions_total",
      "Sessions written back to Redis.",
      offsetof(ngx_push_stats_t, reflushed) },

    { NULL, NULL, 0 }
};


void
ngx_push_metrics_nodes(ngx_push_metrics_out_t *out, ngx_push_stats_t *sum)
{
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL || pcf->cluster == NULL) {
        return;
    }

    ngx_push_metrics_known(out);
    ngx_push_metrics_lease(out);
    ngx_push_metrics_list(out, ngx_push_metrics_node_counters, sum);

    ngx_push_metrics_head(out, "ngx_push_bus_lag_seconds", "gauge",
                          "Age of the entry read last, when it was read; 0 "
                          "when there was nothing to be read.");
    ngx_push_metrics_print(out, "ngx_push_bus_lag_seconds %.3f\n",
                           ngx_push_zone->head->nodes.lag / 1000.0);

    ngx_push_metrics_reflush(out);
}


static void
ngx_push_metrics_known(ngx_push_metrics_out_t *out)
{
    ngx_uint_t              i, alive, gone;
    ngx_push_zone_node_t   *node;
    ngx_push_zone_nodes_t  *nodes;

    nodes = &ngx_push_zone->head->nodes;

    alive = 0;
    gone = 0;

    for (i = 0; i < nodes->nnodes; i++) {
        if (nodes->hash[i]) {
            if (nodes->nodes[i].alive) {
                alive++;

            } else {
                gone++;
            }
        }
    }

    ngx_push_metrics_head(out, "ngx_push_nodes", "gauge",
                          "Nodes known here, this one included, by state.");
    ngx_push_metrics_print(out, "ngx_push_nodes{state=\"alive\"} %ui\n"
                           "ngx_push_nodes{state=\"gone\"} %ui\n",
                           alive, gone);

    if (alive + gone == 0) {
        return;
    }

    ngx_push_metrics_head(out, "ngx_push_node_alive", "gauge",
                          "1 while the node holds its lease.");

    for (i = 0; i < nodes->nnodes; i++) {
        node = &nodes->nodes[i];

        if (nodes->hash[i]) {
            ngx_push_metrics_print(out, "ngx_push_node_alive{node=\"%*s\"} "
                                   "%uD\n", (size_t) node->len, node->name,
                                   node->alive);
        }
    }
}


static void
ngx_push_metrics_lease(ngx_push_metrics_out_t *out)
{
    ngx_push_zone_nodes_t  *nodes;

    nodes = &ngx_push_zone->head->nodes;

    ngx_push_metrics_head(out, "ngx_push_lease_held", "gauge",
                          "1 while this node holds its lease.");
    ngx_push_metrics_print(out, "ngx_push_lease_held %d\n",
                           nodes->lease == NGX_PUSH_LEASE_HELD);

    ngx_push_metrics_head(out, "ngx_push_lease_conflict", "gauge",
                          "1 while another node has this node's name.");
    ngx_push_metrics_print(out, "ngx_push_lease_conflict %d\n",
                           nodes->lease == NGX_PUSH_LEASE_FOREIGN);
}


static void
ngx_push_metrics_reflush(ngx_push_metrics_out_t *out)
{
    ngx_push_zone_walk_t  *walk;

    walk = &ngx_push_zone->head->nodes.walks[NGX_PUSH_REFLUSH_SESSIONS];

    ngx_push_metrics_head(out, "ngx_push_reflush_running", "gauge",
                          "1 while sessions are written back to Redis.");
    ngx_push_metrics_print(out, "ngx_push_reflush_running %d\n",
                           walk->running || walk->wanted);

    ngx_push_metrics_head(out, "ngx_push_reflush_remaining", "gauge",
                          "Sessions still to be written back.");
    ngx_push_metrics_print(out, "ngx_push_reflush_remaining %uL\n",
                           walk->remaining);
}
