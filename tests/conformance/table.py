"""The table of cases, and the server that plays Twilio's part in each as the table says."""

import base64
import email.utils
import hashlib
import json
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import yaml

SID = "SM" + "b" * 32
SETTINGS = {"authToken": "made-up-token", "timeoutSeconds": 5}


def cases():
    """Every case of the table, with the file it stands in."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text("utf-8")):
            unknown = set(case) - {
                *("id", "action", "settings", "input", "answers"),
                *("requests", "output", "sids", "first", "error"),
            }
            assert not unknown, (path.name, case["id"], unknown)
            found.append({**case, "file": path.stem})
    return found


def account(implementation, case):
    """An Account SID of its own for each case and implementation, by which the server knows it."""
    digest = hashlib.sha256(f"{implementation} {case['id']}".encode()).hexdigest()
    return f"AC{digest[:32]}"


def filled(value, names):
    """Fill in ${names} and {repeat: text, times: n}."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: names[match[1]], value)
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
    for each in given["messages"]:
        changes = {name: value for name, value in each.items() if name != "id"}
        listed.append(message(account_sid, {"sid": f"SM{each['id']:0>32}", **changes}))
    return {"messages": listed, "next_page_uri": following, "page": 0, "page_size": 1000}


class Server:
    """Answers each account's requests from its script, in order, and keeps what it was asked."""

    def __init__(self):
        self.scripts, self.requests = {}, {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # or Nagle's algorithm holds the answer back

            def do_GET(self):
                outer._answer(self)

            do_POST = do_GET

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.closed = f"http://127.0.0.1:{unused.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def play(self, implementation, case):
        """Get ready for a case; return its settings and input, filled in."""
        account_sid = account(implementation, case)
        names = {"account": account_sid, "url": self.url, "closed": self.closed}
        answers = case.get("answers", [{"message": {}}])
        self.scripts[account_sid] = filled(answers, names)
        self.requests[account_sid] = []
        settings = {**SETTINGS, "accountId": account_sid, "apiBaseUrl": self.url}
        if implementation == "bizagi":
            settings["resolveSeconds"] = 0
        settings |= filled(case.get("settings", {}), names)
        return settings, filled(case.get("input", {}), names)

    def asked(self, implementation, case):
        return self.requests[account(implementation, case)]

    def _answer(self, handler):
        account_sid = handler.path.split("/")[3]
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        basic = base64.b64decode(handler.headers["Authorization"].removeprefix("Basic "))
        user, _, password = basic.decode().partition(":")
        asked = {
            "method": handler.command,
            "path": handler.path.removeprefix(f"/2010-04-01/Accounts/{account_sid}"),
            "form": dict(parse_qsl(body.decode(), strict_parsing=True)) if body else None,
            "user": user,
            "password": password,
        }
        with self._lock:
            self.requests[account_sid].append(asked)
            script = self.scripts[account_sid]
            answer = script.pop(0) if script else {"status": 418, "text": "not in the script"}
        if answer.get("withhold"):
            handler.close_connection = True
            self._closing.wait(20)
        elif answer.get("reset"):
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            handler.close_connection = True
            handler.connection.close()
        else:
            self._write(handler, account_sid, asked, answer)

    def _write(self, handler, account_sid, asked, answer):
        status = 201 if handler.command == "POST" else 200
        if answer.get("truncated"):
            answer = {"message": {}, **answer}
        if "message" in answer:
            # As Twilio does, the answer names what was asked for.
            sent = {"to": "To", "from": "From", "body": "Body"}
            form = asked["form"] or {}
            same = {name: form.get(key) for name, key in sent.items()} if form else {}
            if "/Messages/" in asked["path"]:
                same = {"sid": asked["path"].rpartition("/")[2].removesuffix(".json")}
            content = json.dumps(message(account_sid, {**same, **answer["message"]}))
        elif "page" in answer:
            content = json.dumps(page(account_sid, answer["page"]))
        elif "json" in answer:
            content = json.dumps(answer["json"])
        elif "text" in answer:
            content = answer["text"]
        else:
            content = json.dumps({"code": answer.get("code"), "message": "Twilio's own words"})
        encoded = content.encode()
        handler.send_response(answer.get("status", status))
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(encoded)))
        handler.send_header("Twilio-Request-Id", "RQ" + "e" * 32)
        for name, value in answer.get("headers", {}).items():
            handler.send_header(name, value)
        if answer.get("truncated"):
            handler.close_connection = True
            encoded = encoded[: len(encoded) // 2]
        handler.end_headers()
        handler.wfile.write(encoded)
        handler.wfile.flush()


def expected(case, implementation, server):
    """The case's expectations, filled in for one implementation."""
    names = {
        "account": account(implementation, case),
        "url": server.url,
        "closed": server.closed,
    }
    wanted = ("requests", "output", "sids", "first", "error")
    return {key: filled(case[key], names) for key in wanted if key in case}


def bizagi_date(text):
    """A date of the document in the form that Bizagi maps: UTC, without an offset."""
    moment = email.utils.parsedate_to_datetime(text)
    return (moment - moment.utcoffset()).strftime("%Y-%m-%dT%H:%M:%S")
