'use strict';
// Opens a connection to a service: TCP, the tunnel of a proxy if one is used, then TLS. Nothing of
// a request is sent before the connection is open.

const http = require('http');
const net = require('net');
const tls = require('tls');

const PORTS = { 'http:': 80, 'https:': 443 };

// Why no connection was made: `kind` is 'certificate', 'proxy' or 'network'.
class Unreached extends Error {
  constructor(kind, status) {
    super(kind);
    this.kind = kind;
    // The HTTP status with which a proxy refused
    this.status = status || null;
  }
}
exports.Unreached = Unreached;

// Resolve to a socket for requests to `url`, or reject with Unreached after at most `seconds`.
// `proxy` is null, or what proxy.choose returns.
exports.reach = (url, proxy, seconds) => {
  const opened = [];
  let timer = null;
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Unreached('network')), seconds * 1000);
  });
  return Promise.race([connect(url, proxy, opened), late]).then(
    (socket) => {
      clearTimeout(timer);
      return socket;
    },
    (error) => {
      clearTimeout(timer);
      opened.forEach((socket) => socket.destroy());
      throw error;
    }
  );
};

async function connect(url, proxy, opened) {
  const first = proxy === null ? url : proxy.url;
  let socket = await plain(hostOf(first), first.port || PORTS[first.protocol], opened);
  if (first.protocol === 'https:') {
    socket = await secure(hostOf(first), socket, opened);
  }
  if (proxy !== null) {
    socket = await tunnel(url, proxy, socket);
    if (url.protocol === 'https:') {
      socket = await secure(hostOf(url), socket, opened);
    }
  }
  return socket;
}

const hostOf = (url) => url.hostname.replace(/^\[|\]$/g, '');

// A destroyed socket may still report an error, which would end the host's process.
function ignore() {}

function plain(host, port, opened) {
  return ready(net.connect({ host: host, port: Number(port) }), 'connect', opened);
}

function secure(host, socket, opened) {
  const options = {
    socket: socket,
    host: host,
    // NODE_TLS_REJECT_UNAUTHORIZED must not switch the check off
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  };
  if (!net.isIP(host)) {
    options.servername = host;
  }
  return ready(tls.connect(options), 'secureConnect', opened);
}

function ready(socket, event, opened) {
  opened.push(socket);
  socket.on('error', ignore);
  return new Promise((resolve, reject) => {
    const fail = () =>
      reject(new Unreached(socket.authorizationError ? 'certificate' : 'network'));
    socket.once('error', fail);
    socket.once('close', fail);
    socket.once(event, () => {
      socket.removeListener('error', fail);
      socket.removeListener('close', fail);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

function tunnel(url, proxy, socket) {
  const target = `${url.hostname}:${url.port || PORTS[url.protocol]}`;
  const headers = { Host: target };
  if (proxy.authorization !== null) {
    headers['Proxy-Authorization'] = proxy.authorization;
  }
  return new Promise((resolve, reject) => {
    const request = http.request({
      method: 'CONNECT', path: target, headers: headers, createConnection: () => socket,
    });
    request.on('error', () => reject(new Unreached('proxy')));
    request.on('close', () => reject(new Unreached('proxy')));
    request.on('connect', (response, tunnelled, head) => {
      // A service sends nothing before the first request. So if bytes follow the proxy's answer,
      // this is not a tunnel.
      if (response.statusCode !== 200 || head.length > 0) {
        reject(new Unreached('proxy', response.statusCode));
        return;
      }
      resolve(tunnelled);
    });
    request.end();
  });
}
