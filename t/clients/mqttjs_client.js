/*
 * A device on MQTT.js, told by lines on stdin what to do; options, commands
 * and what it tells are those of paho_client.py.
 *
 * NODE_PATH has to name the folder with the library.
 */

'use strict';

const fs = require('fs');
const readline = require('readline');
const mqtt = require('mqtt');

const options = {};

for (const arg of process.argv.slice(2)) {
    const at = arg.indexOf('=');
    options[arg.slice(0, at)] = arg.slice(at + 1);
}

const five = options.version === '5';
let client;
let reason = 0;

function tell(...words) {
    process.stdout.write(words.join(' ') + '\n');
}

function connect() {
    const to = {
        protocolVersion: five ? 5 : 4,
        clientId: options.client,
        username: options.user,
        password: options.password,
        clean: false,
        keepalive: 60,
        reconnectPeriod: options.once ? 0 : 200,
    };

    if (five) {
        to.properties = { sessionExpiryInterval: 3600 };
        if (options.window) {
            to.properties.receiveMaximum = Number(options.window);
        }
    }

    if (options.ca) {
        to.ca = fs.readFileSync(options.ca);
    }

    client = mqtt.connect((options.ca ? 'mqtts' : 'mqtt') + '://localhost:'
                          + options.port, to);

    client.on('connect', (ack) => {
        tell('connected', 'session=' + (ack.sessionPresent ? 1 : 0),
             'code=' + (ack.reasonCode || ack.returnCode || 0));
    });

    client.on('disconnect', (packet) => { reason = packet.reasonCode; });

    client.on('close', () => {
        tell('disconnected', 'code=' + reason);
        reason = 0;
    });

    client.on('error', (error) => {
        tell('error', 'code=' + (error.code || 0));
    });

    client.on('message', (topic, payload, packet) => {
        tell('message', topic, payload.toString(),
             'dup=' + (packet.dup ? 1 : 0));
    });
}

connect();

readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const [command, topic, ...rest] = line.split(' ');

    if (command === 'subscribe') {
        client.subscribe(topic, { qos: 1 }, (error, granted) => {
            tell('subscribed', error ? 'error'
                                     : granted.map((item) => item.qos).join(' '));
        });

    } else if (command === 'publish') {
        client.publish(topic, rest.join(' '), { qos: 1 }, (error) => {
            tell(error ? 'not published' : 'published');
        });

    } else if (command === 'disconnect') {
        client.end();

    } else if (command === 'connect') {
        connect();

    } else if (command === 'exit') {
        client.end(false, {}, () => process.exit(0));
    }
}).on('close', () => process.exit(0));
