'use strict';
// Which proxy to use for a service: the property `proxyUrl`, or else the environment variables
// HTTPS_PROXY and NO_PROXY.

const { URL } = require('url');
const errors = require('./errors');

const KINDS = ['http:', 'https:'];

// The proxy to use for `url`, as {url, authorization}, or null. Throws a Fault if the proxy's
// address is not valid, or if this connector can't use that kind of proxy.
exports.choose = (url, proxyUrl, environment) => {
  if (isLoopback(url.hostname)) {
    return null;
  }
  if (proxyUrl !== undefined) {
    return described(proxyUrl, "'proxyUrl'");
  }
  const scheme = url.protocol.slice(0, -1);
  const name = [`${scheme}_proxy`, `${scheme.toUpperCase()}_PROXY`, 'all_proxy', 'ALL_PROXY']
    .find((variable) => environment[variable]);
  const excluded = environment.no_proxy || environment.NO_PROXY || '';
  return name === undefined || isExcluded(url, excluded)
    ? null : described(environment[name], `${name} of the environment`);
};

// Decide by the text of the address, without DNS.
function isLoopback(hostname) {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.[0-9]{1,3}){3}$/.test(hostname);
}
exports.isLoopback = isLoopback;

function described(text, where) {
  let url;
  try {
    url = new URL(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text) ? text : `http://${text}`);
  } catch (error) {
    url = null;
  }
  if (url !== null && /^socks/.test(url.protocol)) {
    throw new errors.Fault(
      'NEVER_CONNECTED',
      `${where} names a SOCKS proxy, which this connector can't use, so nothing was sent. ` +
        'Name an HTTP proxy.',
      { retryable: false }
    );
  }
  const user = url === null ? null : decoded(url.username);
  const password = url === null ? null : decoded(url.password);
  if (user === null || password === null || !KINDS.includes(url.protocol) || !url.hostname) {
    throw new errors.Fault(
      'INVALID_CONFIGURATION',
      `configuration: ${where} must be http:// or https:// and the proxy's host name, with user ` +
        'and password where the proxy wants them: http://user:password@proxy.example.com:8080.'
    );
  }
  const given = user !== '' || password !== '';
  const basic = Buffer.from(`${user}:${password}`).toString('base64');
  return { url: url, authorization: given ? `Basic ${basic}` : null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return null;
  }
}

// Tell whether NO_PROXY excludes `url`. An entry is a host (which also excludes its subdomains), a
// host with a port (only that port), or an IPv4 network (all of its addresses).
function isExcluded(url, list) {
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, '');
  const port = url.port || { 'http:': '80', 'https:': '443' }[url.protocol];
  const entries = list.split(',').map((entry) => entry.trim().toLowerCase()).filter(Boolean);
  return entries.some((entry) => {
    const network = /^([0-9.]+)\/([0-9]{1,2})$/.exec(entry);
    if (network) {
      return isInNetwork(host, network[1], Number(network[2]));
    }
    const [, name, , only] = /^\*?\.?(.*?)(:([0-9]+))?$/.exec(entry);
    return entry === '*' ||
      ((only === undefined || only === port) &&
        (host === name.replace(/^\[|\]$/g, '') || (name !== '' && host.endsWith(`.${name}`))));
  });
}

function isInNetwork(host, network, bits) {
  const [one, other] = [host, network].map(toNumber);
  const size = Math.pow(2, 32 - bits);
  return one !== null && other !== null && bits <= 32 &&
    Math.floor(one / size) === Math.floor(other / size);
}

function toNumber(text) {
  const parts = text.split('.').map(Number);
  const whole = /^[0-9]+(\.[0-9]+){3}$/.test(text) && parts.every((part) => part <= 255);
  return whole ? parts.reduce((sum, part) => sum * 256 + part, 0) : null;
}
