"""A device on paho, told by lines on stdin what to do.

usage: paho_client.py KEY=VALUE...

Keys: port, version (4, 5), client, user, password, ca (a file: TLS), window
(Receive Maximum), once (1: does not connect again of itself).

Commands: subscribe FILTER, publish TOPIC PAYLOAD, disconnect, connect, exit.
What happens is told on stdout: connected, subscribed, published, message,
disconnected, each with what the library says of it.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

options = dict(arg.split("=", 1) for arg in sys.argv[1:])
five = options["version"] == "5"
lock = threading.Lock()


def tell(*words):
    with lock:
        print(*words, flush=True)


def code(reason):
    return getattr(reason, "value", reason)


def on_connect(client, userdata, flags, reason, properties=None):
    tell("connected session=%d code=%d"
         % (flags["session present"], code(reason)))


def on_disconnect(client, userdata, reason, properties=None):
    if options.get("once"):
        client.disconnect()
    tell("disconnected code=%d" % code(reason))


def on_subscribe(client, userdata, mid, granted, properties=None):
    tell("subscribed", *[code(item) for item in granted])


def on_publish(client, userdata, mid):
    tell("published")


def on_message(client, userdata, message):
    tell("message", message.topic, message.payload.decode(),
         "dup=%d" % message.dup)


if five:
    client = mqtt.Client(options["client"], protocol=mqtt.MQTTv5)
else:
    client = mqtt.Client(options["client"], clean_session=False,
                         protocol=mqtt.MQTTv311)

client.on_connect = on_connect
client.on_disconnect = on_disconnect
client.on_subscribe = on_subscribe
client.on_publish = on_publish
client.on_message = on_message
client.reconnect_delay_set(1, 1)
client.username_pw_set(options["user"], options.get("password"))

if "ca" in options:
    client.tls_set(ca_certs=options["ca"])


def connect():
    extra = {}
    if five:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        if "window" in options:
            properties.ReceiveMaximum = int(options["window"])
        extra = {"clean_start": False, "properties": properties}
    client.connect("localhost", int(options["port"]), 60, **extra)
    client.loop_start()


connect()

for line in sys.stdin:
    words = line.rstrip("\n").split(" ", 2)

    if words[0] == "subscribe":
        client.subscribe(words[1], 1)
    elif words[0] == "publish":
        client.publish(words[1], words[2], 1)
    elif words[0] == "disconnect":
        client.disconnect()
        client.loop_stop()
    elif words[0] == "connect":
        connect()
    elif words[0] == "exit":
        break

client.disconnect()
client.loop_stop()
