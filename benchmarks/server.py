"""A simulator of Twilio that takes almost no time: prepared answers, from its own process.

The last digits of the account are its number of messages: AC00…0100000 has 100,000. The argument
of the command line is the latency of every answer, in seconds. The first line of output is the
port.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys

PAGE = 1000
DATE = "Tue, 15 May 2018 16:02:24 +0000"
_REQUEST = re.compile(rb"([A-Z]+) /2010-04-01/Accounts/(AC[0-9]{32})/Messages\.json\??(\S*) ")
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def message(account: str, number: int) -> dict[str, object]:
    """Return one message as Twilio returns it, with 20 fields."""
    sid = f"SM{number:032x}"
    path = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
    return {
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": "Your appointment is tomorrow at 10:00. Please answer YES to confirm it.",
        "date_created": DATE,
        "date_sent": DATE,
        "date_updated": DATE,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+15005550006",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": "-0.00750",
        "price_unit": "USD",
        "sid": sid,
        "status": "delivered",
        "subresource_uris": {"media": f"{path}/Media.json"},
        "to": "+14155550123",
        "uri": f"{path}.json",
    }


def _answer(status: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nTwilio-Request-Id: RQ%032d\r\n"
        b"Content-Length: %d\r\n\r\n" % (status, 0, len(body))
    ) + body


class Answers:
    """Answers that are prepared once. Only a page's next address is new each time."""

    def __init__(self) -> None:
        account = f"AC{0:032d}"
        self._created = _answer(b"201 Created", json.dumps(message(account, 0)).encode())
        self._sid = f"SM{0:032x}".encode()
        self._count = 0
        # Three different lists, so that two neighbouring pages have no message in common.
        self._lists = [
            json.dumps([message(account, which * PAGE + n) for n in range(PAGE)]).encode()
            for which in range(3)
        ]

    def created(self) -> bytes:
        """Return the answer to a send. Each message has another SID."""
        self._count += 1
        return self._created.replace(self._sid, b"SM%032x" % self._count)

    def page(self, account: bytes, query: bytes) -> bytes:
        total = int(account[2:])
        token = re.search(rb"PageToken=([0-9]+)", query)
        number = int(token[1]) if token else 0
        count = min(PAGE, total - number * PAGE)
        messages = self._lists[number % 3]
        if count < PAGE:
            messages = json.dumps(json.loads(messages)[: max(count, 0)]).encode()
        path = b"/2010-04-01/Accounts/%s/Messages.json" % account
        following = b"null"
        if (number + 1) * PAGE < total:
            following = b'"%s?PageSize=1000&Page=%d&PageToken=%d"' % (path, number + 1, number + 1)
        return _answer(
            b"200 OK",
            b'{"end":%d,"first_page_uri":"%s","next_page_uri":%s,"page":%d,"page_size":1000,'
            b'"previous_page_uri":null,"start":%d,"uri":"%s","messages":%s}'
            % (number * PAGE + count, path, following, number, number * PAGE, path, messages),
        )


class Connection(asyncio.Protocol):
    def __init__(self, answers: Answers, latency_seconds: float) -> None:
        self._answers = answers
        self._latency = latency_seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(rest) < int(length[1])):
            return
        self._received = b""
        asked = _REQUEST.match(head)
        if asked is None:
            answer = _answer(b"404 Not Found", b"{}")
        elif asked[1] == b"POST":
            answer = self._answers.created()
        else:
            answer = self._answers.page(asked[2], asked[3])
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def main(latency_seconds: float) -> None:
    answers = Answers()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(answers, latency_seconds), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
