
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A message as a PUBLISH.  Devices that speak the same version and get it
 * with the same QoS and subscription identifiers get the same octets but for
 * three fields, so these are made once and kept as an image, with the payload
 * if that is small: for a broadcast a recipient costs a copy of some hundred
 * octets that are in the cache anyway.  Images are found by the message's
 * record and generation, which together never mean another message.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_IMAGES      8      /* kept, the oldest goes first */
#define NGX_PUSH_ROOM_IMAGE_SIZE  4096   /* of each */

#define NGX_PUSH_ROOM_TOPIC_MAX                                               \
    (NGX_PUSH_PRODUCT_MAX + sizeof("/group/") + NGX_PUSH_NAME_MAX)

/* header of a PUBLISH without its forwarded properties */

#define NGX_PUSH_ROOM_HEADER_MAX                                              \
    (NGX_PUSH_MQTT_PUBLISH_MAX + NGX_PUSH_ROOM_TOPIC_MAX                      \
     + NGX_PUSH_CTYPE_MAX + NGX_PUSH_ID_LEN + 16)

/* content type, a second subscription id, and forwarded properties */

#define NGX_PUSH_ROOM_PROPS_SIZE  (NGX_PUSH_CTYPE_MAX + 8 + 65536)


/* What tells images apart; unused octets are zero. */

typedef struct {
    ngx_push_message_t     *msg;
    uint32_t                gen;
    uint32_t                ids[2];
    uint8_t                 version;
    uint8_t                 qos;
    uint16_t                spare;
} ngx_push_room_image_key_t;


static void ngx_push_room_image_key(ngx_push_room_conn_t *room,
    ngx_push_out_t *out, ngx_push_room_image_key_t *key);
static void ngx_push_room_image_make(ngx_push_room_image_t *image,
    size_t size, uint32_t limit, ngx_uint_t version, ngx_push_out_t *out);
static ngx_uint_t ngx_push_room_topic_name(ngx_push_out_t *out, u_char *buf,
    ngx_push_mqtt_str_t *topic);
static void ngx_push_room_message(ngx_push_out_t *out,
    ngx_push_mqtt_message_t *m, u_char *id);
static void ngx_push_room_message_props(ngx_push_out_t *out,
    ngx_push_mqtt_message_t *m);


static ngx_push_room_image_key_t  ngx_push_room_keys[NGX_PUSH_ROOM_IMAGES];
static ngx_push_room_image_t      ngx_push_room_images[NGX_PUSH_ROOM_IMAGES];
static u_char                     ngx_push_room_image_data
                                      [NGX_PUSH_ROOM_IMAGES]
                                      [NGX_PUSH_ROOM_IMAGE_SIZE];
static ngx_uint_t                 ngx_push_room_image_next;

static ngx_push_room_image_t      ngx_push_room_single;
static u_char                     ngx_push_room_single_data
                                      [NGX_PUSH_ROOM_HEADER_MAX
                                       + NGX_PUSH_ROOM_PROPS_SIZE];
static u_char                     ngx_push_room_props
                                      [NGX_PUSH_ROOM_PROPS_SIZE];


ngx_push_room_image_t *
ngx_push_room_encode(ngx_push_room_conn_t *room, ngx_push_out_t *out)
{
    ngx_uint_t                  i;
    ngx_push_room_image_t      *image;
    ngx_push_room_image_key_t   key;

    if (out->product == NULL) {
        return NULL;
    }

    ngx_push_room_image_key(room, out, &key);

    for (i = 0; i < NGX_PUSH_ROOM_IMAGES; i++) {

        if (ngx_push_room_keys[i].msg == key.msg
            && ngx_memcmp(&ngx_push_room_keys[i], &key, sizeof(key)) == 0)
        {
            image = &ngx_push_room_images[i];
            goto found;
        }
    }

    i = ngx_push_room_image_next++ % NGX_PUSH_ROOM_IMAGES;
    image = &ngx_push_room_images[i];

    image->data = ngx_push_room_image_data[i];
    ngx_push_room_image_make(image, NGX_PUSH_ROOM_IMAGE_SIZE, UINT32_MAX,
                             room->version, out);
    ngx_push_room_keys[i] = key;

found:

    if (image->size && image->packet <= room->max_packet) {
        return image;
    }

    /* long properties, or one that takes no packet as long as this */

    image = &ngx_push_room_single;

    image->data = ngx_push_room_single_data;
    ngx_push_room_image_make(image, sizeof(ngx_push_room_single_data),
                             room->max_packet, room->version, out);

    return image;
}


void
ngx_push_room_address(ngx_push_room_image_t *image, ngx_push_out_t *out,
    u_char *dst)
{
    ngx_memcpy(dst, image->data, image->size);

    if (out->dup) {
        dst[0] |= 0x08;
    }

    if (image->patch.packet_id) {
        ngx_push_mqtt_patch_u16(dst + image->patch.packet_id, out->pid);
    }

    if (image->patch.expiry) {
        ngx_push_mqtt_patch_u32(dst + image->patch.expiry, out->remaining);
    }
}


static void
ngx_push_room_image_key(ngx_push_room_conn_t *room, ngx_push_out_t *out,
    ngx_push_room_image_key_t *key)
{
    ngx_memzero(key, sizeof(ngx_push_room_image_key_t));

    key->msg = out->msg;
    key->gen = out->msg->slot.gen;
    key->version = room->version;
    key->qos = out->qos;

    if (room->version == NGX_PUSH_MQTT_V5) {
        key->ids[0] = out->ids[0];
        key->ids[1] = out->ids[1];
    }
}


/* A header that does not fit into "size" or "limit" makes a size of 0. */

static void
ngx_push_room_image_make(ngx_push_room_image_t *image, size_t size,
    uint32_t limit, ngx_uint_t version, ngx_push_out_t *out)
{
    u_char                    topic[NGX_PUSH_ROOM_TOPIC_MAX];
    u_char                    id[NGX_PUSH_ID_LEN];
    ngx_push_mqtt_message_t   m;

    ngx_memzero(&m, sizeof(ngx_push_mqtt_message_t));

    image->size = 0;
    image->whole = 0;

    if (!ngx_push_room_topic_name(out, topic, &m.topic)) {
        return;
    }

    m.qos = out->qos;
    m.packet_id = out->pid;
    m.payload_len = out->msg->size;

    if (version == NGX_PUSH_MQTT_V5) {
        ngx_push_room_message(out, &m, id);
    }

    image->size = ngx_push_mqtt_write_publish(image->data, size, limit,
                                              version, &m, &image->patch);
    image->packet = image->size + m.payload_len;

    if (image->size && image->packet <= NGX_PUSH_ROOM_IMAGE_SIZE) {
        ngx_push_message_copy(out->msg, ngx_push_message_payload(out->msg),
                              m.payload_len, image->data + image->size);
        image->size = image->packet;
        image->whole = 1;
    }
}


/* 0: not a kind that is sent to devices. */

static ngx_uint_t
ngx_push_room_topic_name(ngx_push_out_t *out, u_char *buf,
    ngx_push_mqtt_str_t *topic)
{
    u_char  *p;

    p = ngx_cpymem(buf, out->product->name.data, out->product->name.len);

    switch (out->kind) {

    case NGX_PUSH_INBOX:
        p = ngx_cpymem(p, "/inbox", 6);
        break;

    case NGX_PUSH_BROADCAST:
        p = ngx_cpymem(p, "/broadcast", 10);
        break;

    case NGX_PUSH_GROUP:
        p = ngx_cpymem(p, "/group/", 7);
        p = ngx_cpymem(p, out->group.data, out->group.len);
        break;

    default:
        return 0;
    }

    topic->data = buf;
    topic->len = p - buf;

    return 1;
}


/* What MQTT 5 tells besides. */

static void
ngx_push_room_message(ngx_push_out_t *out, ngx_push_mqtt_message_t *m,
    u_char *id)
{
    if (out->seq) {
        m->has_expiry = 1;
        m->message_expiry = out->remaining;

        m->id.data = id;
        m->id.len = ngx_push_id_print(id, out->incarnation, out->seq) - id;
    }

    m->subscription_id = out->ids[0] ? out->ids[0] : out->ids[1];

    ngx_push_room_message_props(out, m);
}


/*
 * Content type and forwarded properties stand before the payload.  They are
 * used in place when they are in the record itself, as nearly always, and
 * there is no second subscription id to put before them.
 */

static void
ngx_push_room_message_props(ngx_push_out_t *out, ngx_push_mqtt_message_t *m)
{
    size_t               len;
    u_char              *p;
    uint32_t             id;
    ngx_push_message_t  *msg;

    msg = out->msg;
    len = ngx_push_message_payload(msg);
    id = (out->ids[0] && out->ids[1] != out->ids[0]) ? out->ids[1] : 0;

    if (len == 0 && id == 0) {
        return;
    }

    m->content_type.len = msg->ctype_len;
    m->user.len = msg->props_len;

    if (len <= NGX_PUSH_MSG_INLINE && id == 0) {
        m->content_type.data = msg->data;
        m->user.data = msg->data + msg->ctype_len;
        return;
    }

    p = ngx_push_room_props;

    ngx_push_message_copy(msg, 0, msg->ctype_len, p);
    m->content_type.data = p;
    p += msg->ctype_len;

    m->user.data = p;

    if (id) {
        *p++ = NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID;

        while (id > 127) {
            *p++ = (u_char) (id | 0x80);
            id >>= 7;
        }

        *p++ = (u_char) id;
    }

    ngx_push_message_copy(msg, msg->ctype_len, msg->props_len, p);
    p += msg->props_len;

    m->user.len = p - m->user.data;
}
