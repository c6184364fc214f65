"""The table of cases, and the server that plays Twilio's part in each as the table says."""

import base64
import contextlib
import email.utils
import gzip
import hashlib
import itertools
import json
import re
import select
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl

import trustme
import yaml

SID = "SM" + "b" * 32
MANIFEST = json.loads((Path(__file__).parents[2] / "connector.json").read_text("utf-8"))
DECLARED = {entry["name"] for entry in [*MANIFEST["parameters"], *MANIFEST["options"]]}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C is 10 times as fast, if it is there
SETTINGS = {"authToken": "made-up-token", "timeoutSeconds": 5, "resolveSeconds": 0}
# What the proxy does by the name of its target: it lets these through, and spoils those.
TUNNELS = ("open", "reset")
SPOILT = ("refused", "nonsense", "silent", "dropped", "unwilling")

FIELDS = {
    *("sid", "date_created", "date_updated", "date_sent", "account_sid", "to", "from", "body"),
    *("status", "api_version", "price", "price_unit", "error_code", "error_message", "uri"),
}


def cases():
    """Every case of the table, with the file it stands in."""
    listed = []
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        for case in yaml.load(path.read_bytes(), LOADER):
            unknown = set(case) - {
                *("id", "action", "settings", "input", "answers"),
                *("requests", "output", "sids", "first", "error", "candidates"),
            }
            assert not unknown, (path.name, case["id"], unknown)
            listed.append({**case, "file": path.stem})
    return listed


def account(implementation, case):
    """An Account SID of its own for each case and implementation, by which the server knows it."""
    digest = hashlib.sha256(f"{implementation} {case['id']}".encode()).hexdigest()
    return f"AC{digest[:32]}"


def filled(value, names):
    """Fill in ${names} and {repeat: text, times: n}."""
    if isinstance(value, str):
        return re.sub(r"\$\{([\w-]+)\}", lambda match: names[match[1]], value)
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, dict) and set(value) == {"repeat", "times"}:
        return value["repeat"] * value["times"]
    if isinstance(value, dict):
        return {name: filled(item, names) for name, item in value.items()}
    return value


def message(account_sid, changes):
    """A message as Twilio gives it, with these changes; {absent: true} leaves a field out."""
    whole = {
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "body": "Hola",
        "date_created": "Tue, 15 May 2018 16:02:24 +0000",
        "date_sent": None,
        "date_updated": "Tue, 15 May 2018 16:02:24 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+15005550006",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": SID,
        "status": "queued",
        "subresource_uris": {},
        "to": "+14155550123",
        "uri": f"/2010-04-01/Accounts/{account_sid}/Messages/{SID}.json",
        **changes,
    }
    return {name: value for name, value in whole.items() if value != {"absent": True}}


def page(account_sid, given):
    path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
    following = given.get("next_page_uri")
    if "next" in given:
        following = path + given["next"]
    listed = []
    for entry in given["messages"]:
        changes = {name: value for name, value in entry.items() if name != "id"}
        listed.append(message(account_sid, {"sid": f"SM{entry['id']:0>32}", **changes}))
    return {"messages": listed, "next_page_uri": following, "page": 0, "page_size": 1000}


class Server:
    """Answers each account's requests from its script, in order, and keeps what it was asked.

    The same answers come over plain HTTP, over TLS with certificates good and bad, and through a
    proxy that lets some of its targets through and spoils the others. `environment` is what a
    program needs in its environment to trust the one certificate and to use the proxy.
    """

    def __init__(self, folder):
        self.scripts, self.requests, self.names = {}, {}, {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listeners = []
        self._numbers = itertools.count()
        self._open = 0
        self._changed = threading.Condition()
        trusted, stranger = trustme.CA(), trustme.CA()
        trusted.cert_pem.write_to_path(folder / "trusted.pem")
        plain = self._listen(self._serve)
        self.url = f"http://127.0.0.1:{plain}"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        # The proxy resolves the names of its targets: nobody else is asked.
        ports = {
            "trusted": self._listen_tls(
                trusted, "localhost", *(f"{n}.test" for n in (*TUNNELS, "unwilling"))
            ),
            "stranger": self._listen_tls(stranger, "localhost", "stranger.test"),
            "misnamed": self._listen_tls(trusted, "elsewhere.test"),
            "mute": self._listen(lambda peer: [None for _ in iter(lambda: peer.recv(4096), b"")]),
            "hangs-up": self._listen(lambda peer: None),
        }
        self._targets = {f"{name}.test": ports["trusted"] for name in (*TUNNELS, "unwilling")}
        self._targets |= {"stranger.test": ports["stranger"], "mute.test": ports["mute"]}
        proxy = self._listen(self._tunnel)
        self.secure_proxy = self._listen_tls(trusted, "localhost", serve=self._tunnel)
        self.names = {"url": self.url, "closed": self.closed}
        self.names |= {name: f"https://localhost:{port}" for name, port in ports.items()}
        self.names |= {f"tunnel_{n}": f"https://{n}.test" for n in (*TUNNELS, *SPOILT, "stranger")}
        self.names |= {"no_tls": f"https://localhost:{plain}", "tunnel_mute": "https://mute.test"}
        self.environment = {
            "HTTPS_PROXY": f"http://someone:s%40cret@127.0.0.1:{proxy}",
            "REQUESTS_CA_BUNDLE": str(folder / "trusted.pem"),
            "NODE_EXTRA_CA_CERTS": str(folder / "trusted.pem"),
            # What a careless installation sets: it must change nothing.
            "NODE_TLS_REJECT_UNAUTHORIZED": "0",
            "NODE_NO_WARNINGS": "1",
        }

    def _listen(self, serve):
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listeners.append(listener)

        def one(peer):
            self._count(1)
            with peer:
                try:
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    serve(peer)
                except OSError:
                    pass  # the caller has gone, which some cases are about
            self._count(-1)

        def accept():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    def _listen_tls(self, authority, *names, serve=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)

        def named(tls, name, _):
            return None if name else ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        context.sni_callback = named

        def secured(peer):
            with context.wrap_socket(peer, server_side=True) as secure:
                (serve or self._serve)(secure)

        return self._listen(secured)

    def _count(self, change):
        with self._changed:
            self._open += change
            self._changed.notify_all()

    def wait_until_nobody_is_connected(self, seconds):
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closing.set()
        for listener in self._listeners:
            listener.close()

    def play(self, implementation, case):
        """Get ready for a case; return its settings and input, filled in."""
        account_sid = account(implementation, case)
        names = {"account": account_sid, **self.names}
        self.scripts[account_sid] = (list(case.get("answers", [{"message": {}}])), names)
        self.requests[account_sid] = []
        settings = {**SETTINGS, "accountId": account_sid, "apiBaseUrl": self.url}
        settings |= filled(case.get("settings", {}), names)
        if implementation == "python":  # until it has the options that the package has
            settings = {name: value for name, value in settings.items() if name in DECLARED}
        return settings, filled(case.get("input", {}), names)

    def asked(self, implementation, case):
        return self.requests[account(implementation, case)]

    def _tunnel(self, peer):
        """Be a proxy: the answer to a CONNECT depends on the name of its target."""
        head = _read_head(peer)
        if head is None:
            return
        target, headers = head[0].split()[1], head[1]
        name = target.partition(":")[0].removesuffix(".test")
        basic = base64.b64encode(b"someone:s@cret").decode()
        if name == "refused" or headers.get("proxy-authorization") != f"Basic {basic}":
            peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif name == "nonsense":
            peer.sendall(b"220 mail.example.com ESMTP\r\n\r\n")
        elif name == "silent":
            self._closing.wait(20)
        elif name != "dropped":
            with socket.create_connection(("127.0.0.1", self._targets[f"{name}.test"])) as beyond:
                status = b"503 Not now" if name == "unwilling" else b"200 Connection established"
                peer.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
                _join(peer, beyond)

    def _serve(self, peer):
        number = next(self._numbers)
        while True:
            head = _read_head(peer)
            if head is None:
                return
            (method, path, _), headers = head[0].split(" ", 2), head[1]
            body = _read(peer, int(headers.get("content-length", 0)))
            account_sid = path.split("/")[3]
            basic = base64.b64decode(headers["authorization"].removeprefix("Basic "))
            user, _, password = basic.decode().partition(":")
            asked = {
                "method": method,
                "path": path.removeprefix(f"/2010-04-01/Accounts/{account_sid}"),
                "form": dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
                if body
                else None,
                "user": user,
                "password": password,
                "connection": number,
                "encodings": headers.get("accept-encoding", ""),
            }
            with self._lock:
                self.requests[account_sid].append(asked)
                script, names = self.scripts[account_sid]
                answer = script[0] if script else {"status": 418, "text": "not in the script"}
                if script and not answer.get("again"):
                    script.pop(0)
            answer = filled(answer, {**names, **moments()})
            if not self._answer(peer, asked, account_sid, answer):
                return

    def _answer(self, peer, asked, account_sid, answer):
        """Write an answer as the script has it; tell whether the connection goes on."""
        if answer.get("withhold"):
            self._closing.wait(20)
            return False
        if "raw" in answer:
            peer.sendall(answer["raw"].encode())
            return False
        head, body = _written(asked, account_sid, answer)
        early = "".join(f"HTTP/1.1 {status} Wait\r\n\r\n" for status in answer.get("early", []))
        whole = early.encode() + head + body
        ends = {"status": 12, "headers": len(head) - 2, "body": len(head) + len(body) // 2}
        for way in ("reset", "closed"):
            if way in answer:
                peer.sendall(whole[: ends.get(answer[way], 0)])
                if way == "reset":
                    linger = struct.pack("ii", 1, 0)
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        if "drip" in answer:
            peer.sendall(b"" if answer["drip"] == "head" else head)
            for byte in whole if answer["drip"] == "head" else body:
                peer.sendall(bytes([byte]))
                if self._closing.wait(0.02):
                    return False
            return True
        if "then" in answer:  # an answer that nobody asked for
            whole += b"".join(_written(asked, account_sid, answer["then"]))
        peer.sendall(whole)
        return True


def _read_head(peer):
    """Read a request's head: its first line, and its headers in lower case; None at the end."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        byte = peer.recv(1)
        if not byte:
            return None
        received += byte
    first, *lines = received.decode("latin-1").strip().split("\r\n")
    return first, {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}


def _read(peer, length):
    received = b""
    while len(received) < length:
        received += peer.recv(length - len(received))
    return received


def _join(peer, beyond):
    """Copy both ways, in one thread: two must not use a TLS connection at the same time."""
    targets = {peer: beyond, beyond: peer}
    try:
        while targets:
            has_more = peer in targets and isinstance(peer, ssl.SSLSocket) and peer.pending()
            for source in [peer] if has_more else select.select(list(targets), [], [])[0]:
                piece = source.recv(65536)
                if piece:
                    targets[source].sendall(piece)
                else:
                    targets.pop(source).shutdown(socket.SHUT_WR)
    except OSError:  # one side was reset: the other learns it
        for side in (peer, beyond):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def _written(asked, account_sid, answer):
    """An answer's head and body in bytes."""
    if "message" in answer or not answer.keys() & {"page", "json", "text", "status", "code"}:
        # As Twilio does, the answer names what was asked for.
        sent, form = {"to": "To", "from": "From", "body": "Body"}, asked["form"]
        same = {name: form.get(key) for name, key in sent.items()} if form else {}
        if "/Messages/" in asked["path"]:
            same = {"sid": asked["path"].rpartition("/")[2].removesuffix(".json")}
        content = json.dumps(message(account_sid, {**same, **answer.get("message", {})}))
    elif "page" in answer:
        content = json.dumps(page(account_sid, answer["page"]))
    elif "json" in answer:
        content = json.dumps(answer["json"])
    elif "text" in answer:
        content = answer["text"]
    else:
        content = json.dumps({"code": answer.get("code"), "message": "Twilio's own words"})
    body = content.encode()
    lines = [
        f"HTTP/1.1 {answer.get('status', 201 if asked['method'] == 'POST' else 200)} -",
        "Content-Type: application/json",
        *([] if "Date" in answer.get("headers", {}) else [f"Date: {email.utils.formatdate()}"]),
        f"Twilio-Request-Id: RQ{'e' * 32}",
        *(f"{name}: {value}" for name, value in answer.get("headers", {}).items()),
    ]
    if "gzip" in answer and "gzip" in asked["encodings"]:
        body = gzip.compress(body, mtime=0)
        if answer["gzip"] == "damaged":
            body = body[:20] + bytes([body[20] ^ 255]) + body[21:]
        lines.append("Content-Encoding: gzip")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode(), body


def moments():
    """The moments of an answer, in Twilio's form: ${now}, and some time before it.

    Not of the whole table: its last calls begin some seconds later.
    """
    now = time.time()
    times = {"now": now, "a_minute_ago": now - 60, "an_hour_ago": now - 3600}
    return {
        name: email.utils.formatdate(at).replace("-0000", "+0000") for name, at in times.items()
    }


def expected(case, implementation, server):
    """The case's expectations, filled in for one implementation."""
    names = {"account": account(implementation, case), **server.names}
    wanted = ("requests", "output", "sids", "first", "error", "candidates")
    return {key: filled(case[key], names) for key in wanted if key in case}


def bizagi_date(text):
    """A date of the document in the form that Bizagi maps: UTC, without an offset."""
    moment = email.utils.parsedate_to_datetime(text)
    return (moment - moment.utcoffset()).strftime("%Y-%m-%dT%H:%M:%S")


def outcome(envelope):
    """What an envelope of Bizagi says, as output or error."""
    outputs = envelope["response"]["outputs"]
    if envelope["success"]:
        assert outputs["error"] == {}
        assert (envelope["connectorstatuscode"], envelope["errormessage"]) == (200, "")
        return outputs["output"], None
    error = outputs["error"]
    assert outputs["output"] == {}
    assert set(error) == {"error", "message", "status"}
    assert envelope["errormessage"] == error["message"]
    assert envelope["connectorstatuscode"] == error["status"]
    # The one place for the candidates is the message.
    message, _, named = error["message"].partition(" It may be: ")
    return None, {
        "code": error["error"],
        "status": error["status"] if error["status"] > 0 else None,
        "message": message,
        "candidates": re.findall(r"(?:SM|MM)[0-9a-f]{32}", named),
    }


def judge(case, implementation, server, output, error):
    """Compare what came of a case with what the table expects of it."""
    wanted = expected(case, implementation, server)
    asked = server.asked(implementation, case)

    def dates(name, value):
        is_date = implementation != "python" and name.startswith("date_") and value
        return bizagi_date(value) if is_date else value

    if "error" in wanted:
        assert error is not None, f"no error, but {output}"
        assert error["code"] == wanted["error"]["code"], error
        assert wanted["error"].get("message", "") in error["message"]
        assert error["status"] == wanted["error"].get("status", error["status"])
        assert wanted["error"].get("without", "\0") not in error["message"]
        if "candidates" in wanted:
            assert [sid[-2:] for sid in error["candidates"]] == wanted["candidates"]
    else:
        assert error is None, error
    for message in [output, *(output or {}).get("messages", [])]:
        if message is not None and "messages" not in message:
            assert set(message) == FIELDS
    for name, value in wanted.get("output", {}).items():
        assert output[name] == dates(name, value), name
    if "sids" in wanted:
        assert [message["sid"][-2:] for message in output["messages"]] == wanted["sids"]
    for name, value in wanted.get("first", {}).items():
        assert output["messages"][0][name] == dates(name, value), name
    if "requests" in wanted:
        assert len(asked) == len(wanted["requests"]), asked
        for request, fields in zip(asked, wanted["requests"], strict=True):
            for key, value in fields.items():
                assert request[key] == value, key
