/* link: ngx_push_mqtt_read.c ngx_push_mqtt_reason.c ngx_push_mqtt_props.c ngx_push_mqtt_props_read.c ngx_push_mqtt_connect.c ngx_push_mqtt_parse.c ngx_push_mqtt_write.c mqtt_table.c mqtt_dump.c */

/*
 * Plays the packet table: each packet whole, cut at every octet, with an octet
 * too many, and octet by octet; and writes what the server is to write.
 *
 * Parsers run on copies of exactly the size of their input, so that a
 * sanitizer or valgrind sees the first octet read beyond it.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mqtt_table.h"


static uint8_t *
exact_copy(const uint8_t *data, size_t n)
{
    uint8_t  *copy;

    copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, data, n);

    return copy;
}


static int
wanted(const mqtt_case_t *c, unsigned *code)
{
    *code = 0;

    if (strcmp(c->result, "ok") == 0) {
        return NGX_PUSH_MQTT_OK;
    }

    if (strcmp(c->result, "again") == 0) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    *code = (unsigned) strtoul(c->result + 6, NULL, 16);

    return NGX_PUSH_MQTT_ERROR;
}


/* the frame of n octets; before CONNECT the version is not known */

static int
frame(const mqtt_case_t *c, const uint8_t *data, size_t n, uint32_t max,
    ngx_push_mqtt_frame_t *f, ngx_push_mqtt_error_t *err)
{
    int       rc;
    uint8_t  *copy;

    copy = exact_copy(data, n);

    rc = ngx_push_mqtt_read_frame(copy, n, max,
                                  n && copy[0] >> 4 == NGX_PUSH_MQTT_CONNECT
                                  ? 0 : c->version, f, err);

    free(copy);

    return rc;
}


static int
parse(const mqtt_case_t *c, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t n, FILE *out, ngx_push_mqtt_error_t *err)
{
    int                     rc;
    uint8_t                *copy;
    uint32_t                max;
    ngx_push_mqtt_limits_t  limits;

    mqtt_case_limits(c, &limits, &max);

    copy = exact_copy(body, n);
    rc = mqtt_parse_any(c->version, f, copy, n, &limits, out, err);
    free(copy);

    return rc;
}


/* each word of "expect" must be one of what was printed */

static void
check_expectations(const mqtt_case_t *c, const char *found)
{
    char    word[1024];
    size_t  n;

    const char  *p;

    for (p = c->expect; *p; p += n, p += strspn(p, " ")) {
        n = strcspn(p, " ");

        snprintf(word, sizeof(word), " %.*s ", (int) n, p);

        if (strstr(found, word) == NULL) {
            fail_msg("%s: expected%s, found%s", c->where, word, found);
        }
    }
}


static void
check_whole(const mqtt_case_t *c)
{
    int                     rc, want;
    char                   *text;
    size_t                  size;
    FILE                   *out;
    unsigned                code;
    uint32_t                max;
    ngx_push_mqtt_frame_t   f;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_limits_t  limits;

    want = wanted(c, &code);
    mqtt_case_limits(c, &limits, &max);

    err.code = 0;
    err.text = NULL;
    out = open_memstream(&text, &size);

    rc = frame(c, c->data, c->len, max, &f, &err);

    if (rc == NGX_PUSH_MQTT_OK) {
        assert_int_equal(f.header + f.remaining, c->len);
        rc = parse(c, &f, c->data + f.header, f.remaining, out, &err);
    }

    fputc(' ', out);
    fclose(out);

    if (rc != want || err.code != code) {
        fail_msg("%s: result %d, reason %02x (%s), expected %s", c->where, rc,
                 err.code, err.text ? err.text : "", c->result);
    }

    assert_true((err.text != NULL) == (rc == NGX_PUSH_MQTT_ERROR));
    check_expectations(c, text);

    free(text);
}


/*
 * A prefix is never OK.  It is an error only where the whole is refused by
 * its fixed header, and then with the same reason.
 */

static void
check_prefixes(const mqtt_case_t *c)
{
    int                     rc, want, refused;
    size_t                  n;
    unsigned                code;
    uint32_t                max;
    ngx_push_mqtt_frame_t   f;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_limits_t  limits;

    want = wanted(c, &code);
    mqtt_case_limits(c, &limits, &max);

    refused = 0;

    for (n = 0; n < c->len; n++) {
        rc = frame(c, c->data, n, max, &f, &err);

        if (rc == NGX_PUSH_MQTT_AGAIN) {
            assert_false(refused);
            continue;
        }

        if (rc != NGX_PUSH_MQTT_ERROR || want != NGX_PUSH_MQTT_ERROR
            || err.code != code || (n > 5 && !refused))
        {
            fail_msg("%s: %d after %d octets", c->where, rc, (int) n);
        }

        refused = 1;
    }

    /* the whole is refused by the frame as well, if a prefix is */

    if (refused) {
        assert_int_equal(frame(c, c->data, c->len, max, &f, &err),
                         NGX_PUSH_MQTT_ERROR);
    }
}


/* the next packet behind this one changes nothing */

static void
check_pipelined(const mqtt_case_t *c)
{
    int                     rc;
    uint8_t                 data[MQTT_CASE_DATA + 2];
    uint32_t                max;
    ngx_push_mqtt_frame_t   f, f2;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_limits_t  limits;

    mqtt_case_limits(c, &limits, &max);

    if (frame(c, c->data, c->len, max, &f, &err) != NGX_PUSH_MQTT_OK) {
        return;
    }

    memcpy(data, c->data, c->len);
    memcpy(data + c->len, "\xc0\x00", 2);

    rc = frame(c, data, c->len + 2, max, &f2, &err);

    assert_int_equal(rc, NGX_PUSH_MQTT_OK);
    assert_int_equal(f2.type, f.type);
    assert_int_equal(f2.flags, f.flags);
    assert_int_equal(f2.header, f.header);
    assert_int_equal(f2.remaining, f.remaining);
}


/* bodies with octets missing, or one too many */

static void
check_cut_bodies(const mqtt_case_t *c)
{
    int                     rc, want, whole;
    uint8_t                 longer[MQTT_CASE_DATA + 1];
    unsigned                code;
    uint32_t                max, k;
    const uint8_t          *body;
    ngx_push_mqtt_frame_t   f;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_limits_t  limits;

    want = wanted(c, &code);
    mqtt_case_limits(c, &limits, &max);

    if (frame(c, c->data, c->len, max, &f, &err) != NGX_PUSH_MQTT_OK) {
        return;
    }

    body = c->data + f.header;

    for (k = 0; k < f.remaining; k++) {
        rc = parse(c, &f, body, k, NULL, &err);

        if (want != NGX_PUSH_MQTT_OK) {
            continue;
        }

        whole = mqtt_cut_is_whole(c->version, &f, body, k, &limits);

        if (rc != (whole ? NGX_PUSH_MQTT_OK : NGX_PUSH_MQTT_ERROR)) {
            fail_msg("%s: %d for a body cut to %u octets", c->where, rc, k);
        }
    }

    memcpy(longer, body, f.remaining);
    longer[f.remaining] = 0xff;

    rc = parse(c, &f, longer, f.remaining + 1, NULL, &err);

    if (want == NGX_PUSH_MQTT_OK) {
        assert_int_equal(rc, f.type == NGX_PUSH_MQTT_PUBLISH
                             ? NGX_PUSH_MQTT_OK : NGX_PUSH_MQTT_ERROR);
    }
}


static void
test_received(void **state)
{
    const mqtt_case_t  *c;

    c = *state;

    check_whole(c);
    check_prefixes(c);
    check_pipelined(c);
    check_cut_bodies(c);
}


#define STR(s)  { (const uint8_t *) s, sizeof(s) - 1 }


static void
connack_props(ngx_push_mqtt_props_t *p)
{
    unsigned  id;

    static const ngx_push_mqtt_str_t  client = STR("gen-1");
    static const ngx_push_mqtt_str_t  method = STR("M");
    static const ngx_push_mqtt_str_t  data = STR("\x00\x01");
    static const ngx_push_mqtt_str_t  info = STR("ri");
    static const ngx_push_mqtt_str_t  reference = STR("b:1883");
    static const ngx_push_mqtt_str_t  reason = STR("why");
    static const ngx_push_mqtt_str_t  user = STR("\x26\x00\x01n\x00\x01" "1");

    memset(p, 0, sizeof(ngx_push_mqtt_props_t));

    /* of these only the properties of CONNACK may be written */

    for (id = 1; id < 0x2b; id++) {
        ngx_push_mqtt_set(p, id);
    }

    p->session_expiry = 3600;
    p->assigned_client_id = client;
    p->server_keep_alive = 300;
    p->auth_method = method;
    p->auth_data = data;
    p->response_info = info;
    p->server_reference = reference;
    p->reason_string = reason;
    p->receive_maximum = 20;
    p->topic_alias_maximum = 5;
    p->maximum_qos = 1;
    p->maximum_packet_size = 65536;
    p->wildcard_available = 1;
    p->user = user;
}


static size_t
write_connack(const char *name, uint8_t *buf, size_t cap, int version)
{
    ngx_push_mqtt_props_t  props;

    if (strcmp(name, "connack-full") == 0) {
        connack_props(&props);
        return ngx_push_mqtt_write_connack(buf, cap, UINT32_MAX, version, 0,
                                           0, &props);
    }

    if (strcmp(name, "connack-refused") == 0) {
        return ngx_push_mqtt_write_connack(buf, cap, UINT32_MAX, version, 1,
                                           NGX_PUSH_MQTT_RC_NOT_AUTHORIZED,
                                           NULL);
    }

    return ngx_push_mqtt_write_connack(buf, cap, UINT32_MAX, version,
                                       strcmp(name, "connack-present") == 0,
                                       0, NULL);
}


static size_t
write_publish(const char *name, uint8_t *buf, size_t cap, int version)
{
    size_t                   n;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_message_t  m;

    static const ngx_push_mqtt_str_t  topic = STR("shop/inbox");
    static const ngx_push_mqtt_str_t  type = STR("text/plain");
    static const ngx_push_mqtt_str_t  response = STR("r");
    static const ngx_push_mqtt_str_t  data = STR("\xff");
    static const ngx_push_mqtt_str_t  id = STR("1-9");
    static const ngx_push_mqtt_str_t  user = STR("\x26\x00\x01k\x00\x01v");

    memset(&m, 0, sizeof(m));
    m.topic = topic;
    m.payload_len = 5;

    if (strcmp(name, "publish-full") == 0) {
        m.qos = 1;
        m.dup = 1;
        m.retain = 1;
        m.packet_id = 4660;
        m.payload_format = 1;
        m.has_expiry = 1;
        m.message_expiry = 60;
        m.content_type = type;
        m.response_topic = response;
        m.correlation_data = data;
        m.subscription_id = 200;
        m.topic_alias = 3;
        m.id = id;
        m.user = user;
    }

    if (cap < 5) {
        return 0;
    }

    n = ngx_push_mqtt_write_publish(buf, cap - 5, UINT32_MAX, version, &m,
                                    &patch);
    if (n == 0) {
        return 0;
    }

    assert_int_equal(patch.packet_id, m.qos ? 14 : 0);
    assert_int_equal(patch.expiry, m.has_expiry && version == 5 ? 20 : 0);

    memcpy(buf + n, "hello", 5);

    return n + 5;
}


static size_t
write_ack(const char *name, uint8_t *buf, size_t cap, int version)
{
    unsigned  type, reason;

    static const ngx_push_mqtt_str_t  text = STR("full");

    type = strcmp(name, "pubrec") == 0 ? NGX_PUSH_MQTT_PUBREC
           : strcmp(name, "pubrel") == 0 ? NGX_PUSH_MQTT_PUBREL
           : strcmp(name, "pubcomp") == 0 ? NGX_PUSH_MQTT_PUBCOMP
           : NGX_PUSH_MQTT_PUBACK;

    reason = strchr(name, '-') ? NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED : 0;

    return ngx_push_mqtt_write_ack(buf, cap, UINT32_MAX, version, type, 258,
                                   reason,
                                   strcmp(name, "puback-string") == 0
                                   ? &text : NULL);
}


static size_t
write_suback(const char *name, uint8_t *buf, size_t cap, int version)
{
    static const uint8_t              codes[] = { 1, 0, 0x8f, 0x9e };
    static const uint8_t              un[] = { 0x00, 0x11 };
    static const ngx_push_mqtt_str_t  text = STR("no");

    if (strcmp(name, "unsuback") == 0) {
        return ngx_push_mqtt_write_unsuback(buf, cap, UINT32_MAX, version, 7,
                                            un, 2, NULL);
    }

    return ngx_push_mqtt_write_suback(buf, cap, UINT32_MAX, version, 7, codes,
                                      4, strcmp(name, "suback-string") == 0
                                         ? &text : NULL);
}


static size_t
write_reason(const char *name, uint8_t *buf, size_t cap, int version)
{
    ngx_push_mqtt_props_t  props;

    static const ngx_push_mqtt_str_t  method = STR("M");
    static const ngx_push_mqtt_str_t  data = STR("\x01");
    static const ngx_push_mqtt_str_t  reference = STR("b:1883");
    static const ngx_push_mqtt_str_t  reason = STR("full");

    memset(&props, 0, sizeof(props));

    if (strcmp(name, "auth") == 0) {
        props.auth_method = method;
        props.auth_data = data;
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_AUTH_METHOD);
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_AUTH_DATA);

        return ngx_push_mqtt_write_auth(buf, cap, UINT32_MAX,
                                   NGX_PUSH_MQTT_RC_CONTINUE_AUTHENTICATION,
                                   &props);
    }

    if (strcmp(name, "disconnect-moved") == 0) {
        props.server_reference = reference;
        props.reason_string = reason;
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_SERVER_REFERENCE);
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_REASON_STRING);

        return ngx_push_mqtt_write_disconnect(buf, cap, UINT32_MAX, version,
                                       NGX_PUSH_MQTT_RC_USE_ANOTHER_SERVER,
                                       &props);
    }

    return ngx_push_mqtt_write_disconnect(buf, cap, UINT32_MAX, version,
                                     strcmp(name, "disconnect-taken") == 0
                                     ? NGX_PUSH_MQTT_RC_SESSION_TAKEN_OVER : 0,
                                     NULL);
}


static size_t
write_pingresp(const char *name, uint8_t *buf, size_t cap, int version)
{
    (void) name;
    (void) version;

    return ngx_push_mqtt_write_pingresp(buf, cap);
}


typedef struct {
    const char  *prefix;
    size_t     (*write)(const char *name, uint8_t *buf, size_t cap,
                        int version);
} writer_t;


static const writer_t  writers[] = {
    { "connack", write_connack },
    { "publish", write_publish },
    { "pub", write_ack },
    { "suback", write_suback },
    { "unsuback", write_suback },
    { "disconnect", write_reason },
    { "auth", write_reason },
    { "pingresp", write_pingresp },
    { NULL, NULL }
};


/* the octets of the table; nothing at all in a buffer that is too small */

static void
test_written(void **state)
{
    size_t              n, size;
    uint8_t            *buf;
    const writer_t     *w;
    const mqtt_case_t  *c;

    c = *state;

    for (w = writers; w->prefix; w++) {
        if (strncmp(c->write, w->prefix, strlen(w->prefix)) == 0) {
            break;
        }
    }

    assert_non_null(w->prefix);

    for (size = 0; size <= c->len; size++) {
        buf = exact_copy(c->data, size);
        memset(buf, 0xee, size);

        n = w->write(c->write, buf, size, c->version);

        if (size == c->len) {
            assert_int_equal(n, c->len);
            assert_memory_equal(buf, c->data, n);

        } else if (n) {

            /* less room, so less was said: never a cut packet */

            assert_true(n <= size);
            assert_int_equal(buf[0], c->data[0]);
            assert_int_equal(buf[1] + 2u, n);
        }

        free(buf);
    }
}


#define TESTS_MAX  1024

static size_t             tests_n;
static struct CMUnitTest  tests[TESTS_MAX];


/* each case of a file becomes a test of its own; they live until the end */

static void
add_file(const char *name, CMUnitTestFunction function)
{
    char         *text;
    size_t        i, n;
    mqtt_case_t  *cases;

    n = mqtt_table_read(name, &cases);

    if (n > TESTS_MAX - tests_n) {
        fprintf(stderr, "%s: more cases than TESTS_MAX\n", name);
        exit(2);
    }

    for (i = 0; i < n; i++) {
        text = malloc(256);
        snprintf(text, 256, "%s v%d: %s", cases[i].where, cases[i].version,
                 cases[i].name);

        tests[tests_n].name = text;
        tests[tests_n].test_func = function;
        tests[tests_n].initial_state = &cases[i];
        tests_n++;
    }
}


int
main(void)
{
    add_file("connect.txt", test_received);
    add_file("publish.txt", test_received);
    add_file("subscribe.txt", test_received);
    add_file("other.txt", test_received);
    add_file("server.txt", test_written);

    return _cmocka_run_group_tests("packets", tests, tests_n, NULL, NULL)
           != 0;
}
