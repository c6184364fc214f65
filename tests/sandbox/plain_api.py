"""Plain requests to a sandbox, for the bytes that a library would hide."""

import requests

SERVICE = "MG" + 32 * "a"


def refused(answer, code, status=400):
    assert (answer.status_code, answer.json()["code"]) == (status, code)


class Api:
    """Plain requests to one account of a sandbox."""

    def __init__(self, sandbox, account_sid, user, password):
        self.url = f"{sandbox.url}/2010-04-01/Accounts/{account_sid}"
        self.origin = sandbox.url
        self.account_sid = account_sid
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (user, password)

    def get(self, path, **options):
        return self.session.get(self.url + path, timeout=10, **options)

    def post(self, path="/Messages.json", *, timeout=10, **form):
        return self.session.post(self.url + path, data=form, timeout=timeout)

    def send(self, to="+14155550123", sender="+15005550006", body="Hola", **form):
        return self.post(To=to, From=sender, Body=body, **form)

    def delete(self, path):
        return self.session.delete(self.url + path, timeout=10)

    def follow(self, uri):
        return self.session.get(self.origin + uri, timeout=10)
