"""The check of a set-up, step by step as the connector's document describes it.

Everything is only asked: nothing is sent, bought or changed, and nothing that costs money is asked
for. The texts are in hints.json. Twilio's pages: https://www.twilio.com/docs/iam/api-keys,
https://www.twilio.com/docs/usage/tutorials/how-to-use-your-free-trial-account,
https://www.twilio.com/docs/lookup/v2-api, https://www.twilio.com/docs/messaging/api.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from connector_runtime import Finding, Inquiry, Question, errors

_E164 = re.compile(r"\+(1[2-9][0-9]{9}|[2-9][0-9]{6,14})")
_NUMBER_LIKE = re.compile(r"\+[0-9]{1,20}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_TOLL_FREE = re.compile(r"\+18(00|33|44|55|66|77|88)[0-9]{7}")
_ADDRESS = re.compile(
    r"https://api(?P<labels>(\.[a-z0-9-]+)*)\.twilio\.com(:443)?/?", re.IGNORECASE
)
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Known to take no names as senders. There are more, which Twilio's pages list.
_NO_NAMES = frozenset(("CO", "US", "CA", "PR"))
_SERVICES = 20  # looked through for a number's campaign, at most
_PENDING = frozenset(("PENDING", "IN_PROGRESS", "IN_REVIEW", "PENDING_REVIEW"))


class _Reply(NamedTuple):
    """An answer, or why there is none: refused, forbidden, suspended, missing, unanswered."""

    value: Any = None
    why: str | None = None
    code: str | None = None


def check(inquiry: Inquiry, texts: Mapping[str, Any]) -> list[Finding]:
    """Return what holds, fails or is not known, in the order of the document's steps.

    Raise ConnectorError where Twilio can't be asked at all.
    """
    return list(_Doctor(inquiry, texts).findings())


class _Doctor:
    """One check: everything that does not depend on an answer is asked when it is made."""

    def __init__(self, inquiry: Inquiry, texts: Mapping[str, Any]) -> None:
        self._inquiry = inquiry
        self._texts = texts
        self._language = inquiry.language
        self._path = f"/2010-04-01/Accounts/{inquiry.settings['accountId']}"
        self._sender: str | None = inquiry.globals.get("from")
        ask = inquiry.ask
        self._messages = ask(f"{self._path}/Messages.json", {"PageSize": 1})
        self._account = ask(f"{self._path}.json")
        self._balance = ask(f"{self._path}/Balance.json")
        self._sender_questions = self._ask_about_sender(self._sender or "")
        self._recipients = [
            (
                recipient,
                ask(f"/v2/PhoneNumbers/{quote(recipient, safe='')}", host="lookups"),
                ask(f"{self._path}/OutgoingCallerIds.json", {"PhoneNumber": recipient}),
            )
            if _NUMBER_LIKE.fullmatch(recipient)
            else (recipient, None, None)
            for recipient in inquiry.recipients
        ]

    def _ask_about_sender(self, sender: str) -> dict[str, Question]:
        ask = self._inquiry.ask
        if _SERVICE.fullmatch(sender):
            base = f"/v1/Services/{sender}"
            parts = {
                "service": "",
                "numbers": "/PhoneNumbers",
                "names": "/AlphaSenders",
                "short_codes": "/ShortCodes",
                "campaigns": "/Compliance/Usa2p",
            }
            return {name: ask(base + part, host="messaging") for name, part in parts.items()}
        if not sender.startswith("+"):
            return {}
        asked = {
            "owned": ask(f"{self._path}/IncomingPhoneNumbers.json", {"PhoneNumber": sender}),
            "lookup": ask(f"/v2/PhoneNumbers/{quote(sender, safe='')}", host="lookups"),
        }
        if sender.startswith("+1") and not _TOLL_FREE.fullmatch(sender):
            asked["services"] = ask("/v1/Services", {"PageSize": _SERVICES}, host="messaging")
        return asked

    def findings(self) -> Iterator[Finding]:
        region = self._region()
        try:
            credentials, account = self._reply(self._messages, must=True), None
        except errors.NeverConnected:
            if region.verdict != "fails":
                raise
            yield self._finding("credentials", "unreached")
            yield region
            return
        if credentials.why is None and not _has_list(credentials.value, "messages"):
            raise self._inquiry.unreadable("has no list of messages")
        account = self._reply(self._account)
        self._blocked = self._blocking(credentials)
        kind = self._type_of(account)
        countries = self._countries()
        yield self._account_finding(credentials, account)
        yield self._trial_finding(account, kind)
        yield self._credentials_finding(credentials, account)
        yield region
        sender = self._sender_finding(kind, countries)
        yield sender
        if sender.verdict == "fails":
            yield self._not_known("registration", "sender")
        else:
            yield self._registration_finding(countries)
        yield from self._recipient_findings(kind, countries)
        yield self._voice_url_finding()
        yield self._balance_finding()

    # What can be said before anything was answered.

    def _region(self) -> Finding:
        match = _ADDRESS.fullmatch(self._inquiry.settings["apiBaseUrl"])
        if match is None:
            return self._finding("region", "elsewhere")
        labels = match["labels"].lstrip(".").lower().split(".") if match["labels"] else []
        if not labels or labels == ["us1"]:
            return self._finding("region", "default")
        if len(labels) == 1:
            return self._finding("region", "no_edge")
        return self._finding("region", "region", edge=labels[0], region=labels[-1])

    def _voice_url_finding(self) -> Finding:
        given = self._inquiry.globals.get("voice_url")
        return self._finding("voice_url", "formed" if given else "none")

    # Account and credentials

    def _blocking(self, credentials: _Reply) -> str | None:
        """Return why nothing can be asked with these credentials, None where much can."""
        if credentials.why == "refused" or credentials.why == "missing":
            return "refused"
        if credentials.why == "suspended":
            return "suspended"
        return "test" if credentials.code == "20008" else None

    def _account_finding(self, credentials: _Reply, account: _Reply) -> Finding:
        status = account.value.get("status") if isinstance(account.value, dict) else None
        if account.why is None and not isinstance(status, str):
            return self._not_known("account", "unanswered")
        if status == "active":
            owner = account.value.get("owner_account_sid")
            sub = owner not in (None, self._inquiry.settings["accountId"])
            name = _shown(account.value.get("friendly_name"))
            return self._finding("account", "subaccount" if sub else "active", name=name)
        if status in ("suspended", "closed"):
            return self._finding("account", status)
        if status is not None:
            return self._finding("account", "other", status=_word(status))
        if "suspended" in (credentials.why, account.why):
            return self._finding("account", "suspended_or_closed")
        return self._not_known("account", account.why)

    def _credentials_finding(self, credentials: _Reply, account: _Reply) -> Finding:
        is_key = "apiKeySid" in self._inquiry.settings
        if credentials.why == "refused":
            return self._finding("credentials", "wrong_key" if is_key else "wrong_token")
        if credentials.why == "missing":
            return self._finding("credentials", "no_account")
        if credentials.code == "20008":
            return self._finding("credentials", "test")
        if credentials.why == "suspended":
            return self._finding("credentials", "suspended")
        if credentials.why == "forbidden":
            restricted = credentials.code == "70051"
            return self._finding("credentials", "restricted" if restricted else "forbidden")
        if not is_key:
            return self._finding("credentials", "token")
        kind = {None: "main", "refused": "standard"}.get(account.why, "key")
        return self._finding("credentials", kind)

    def _type_of(self, account: _Reply) -> str | None:
        kind = account.value.get("type") if isinstance(account.value, dict) else None
        return kind if kind in ("Trial", "Full") else None

    def _trial_finding(self, account: _Reply, kind: str | None) -> Finding:
        if account.why is not None:
            return self._not_known("trial", account.why)
        return self._finding("trial", {"Trial": "trial", "Full": "full"}.get(kind or "", "other"))

    def _balance_finding(self) -> Finding:
        balance = self._reply(self._balance)
        if balance.why == "missing" and self._blocked is None:
            return self._finding("balance", "owner")
        if balance.why is not None:
            return self._not_known("balance", balance.why)
        amount = balance.value.get("balance") if isinstance(balance.value, dict) else None
        if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
            return self._not_known("balance", "unanswered")
        return self._finding("balance", "positive" if float(amount) > 0 else "empty")

    # The sender

    def _sender_finding(self, kind: str | None, countries: list[str | None]) -> Finding:
        sender = self._sender
        if sender is None:
            return self._finding("number", "none")
        if sender.startswith("whatsapp:"):
            return self._finding("number", "whatsapp")
        if _SERVICE.fullmatch(sender):
            return self._service_finding()
        if _E164.fullmatch(sender):
            return self._number_finding(sender)
        if _SHORT_CODE.fullmatch(sender):
            return self._finding("number", "short_code")
        refusing = sorted({country for country in countries if country in _NO_NAMES})
        if kind == "Trial":
            return self._finding("number", "name_trial")
        if refusing:
            return self._finding("number", "name_refused", countries=", ".join(refusing))
        told = countries and all(countries)
        return self._finding("number", "name" if told else "name_no_recipients")

    def _number_finding(self, sender: str) -> Finding:
        owned = self._reply(self._sender_questions["owned"])
        if owned.why is not None:
            return self._not_known("number", owned.why)
        try:
            numbers = [
                number
                for number in owned.value["incoming_phone_numbers"]
                if number["phone_number"] == sender
            ]
            able = {
                name: any(number["capabilities"][name] is True for number in numbers)
                for name in ("sms", "voice", "mms")
            }
        except (KeyError, TypeError):
            return self._not_known("number", "unanswered")
        if not numbers:
            return self._finding("number", "not_owned")
        words = [self._word(name) for name, can in able.items() if can] or [self._word("none")]
        abilities = ", ".join(words)
        if not able["sms"]:
            return self._finding("number", "no_sms", abilities=abilities)
        country = self._country_of(self._reply(self._sender_questions["lookup"]))
        outcome = "somewhere" if country is None else "us" if country == "US" else "elsewhere"
        return self._finding("number", outcome, abilities=abilities, country=country)

    def _service_finding(self) -> Finding:
        service = self._reply(self._sender_questions["service"])
        if service.why == "missing" and self._blocked is None:
            return self._finding("number", "service_missing")
        replies = {
            name: self._reply(self._sender_questions[name])
            for name in ("numbers", "names", "short_codes")
        }
        why = next((reply.why for reply in (service, *replies.values()) if reply.why), None)
        if why is not None:
            return self._not_known("number", why)
        try:
            counts = {
                "numbers": sum(_can_send_sms(n) for n in replies["numbers"].value["phone_numbers"]),
                "short_codes": len(replies["short_codes"].value["short_codes"]),
                "names": len(replies["names"].value["alpha_senders"]),
            }
        except (KeyError, TypeError):
            return self._not_known("number", "unanswered")
        senders = [f"{self._word(name)}: {count}" for name, count in counts.items() if count]
        if not senders:
            return self._finding("number", "service_empty")
        return self._finding("number", "service", senders=", ".join(senders))

    # Registration, which carriers in the US ask for

    def _registration_finding(self, countries: list[str | None]) -> Finding:
        sender = self._sender or ""
        if _TOLL_FREE.fullmatch(sender):
            return self._toll_free_finding(countries)
        if _SERVICE.fullmatch(sender):
            return self._campaign_finding(countries, self._service_campaigns)
        if not sender.startswith("+1"):
            return self._finding("registration", "not_needed_sender")
        country = self._country_of(self._reply(self._sender_questions["lookup"]))
        if country not in ("US", "CA", None):
            return self._finding("registration", "not_needed_sender")
        return self._campaign_finding(countries, self._campaigns_of_number)

    def _toll_free_finding(self, countries: list[str | None]) -> Finding:
        need = _need(countries, ("US", "CA"))
        if need == "no":
            return self._finding("registration", "not_needed_recipients", countries="US, CA")
        owned = self._reply(self._sender_questions["owned"])
        if owned.why is not None:
            return self._not_known("registration", owned.why)
        try:
            sids = [number["sid"] for number in owned.value["incoming_phone_numbers"]]
        except (KeyError, TypeError):
            return self._not_known("registration", "unanswered")
        statuses: set[Any] = set()
        asked = [
            self._inquiry.ask(
                "/v1/Tollfree/Verifications",
                {"TollfreePhoneNumberSid": sid},
                host="messaging",
            )
            for sid in sids[:1]
        ]
        for question in asked:
            reply = self._reply(question)
            if reply.why is not None:
                return self._not_known("registration", reply.why)
            try:
                statuses |= {entry["status"] for entry in reply.value["verifications"]}
            except (KeyError, TypeError):
                return self._not_known("registration", "unanswered")
        if "TWILIO_APPROVED" in statuses:
            return self._finding("registration", "toll_free")
        if need == "maybe":
            return self._finding("registration", "toll_free_maybe")
        pending = not statuses.isdisjoint(_PENDING)
        return self._finding("registration", f"toll_free_{'pending' if pending else 'missing'}")

    def _campaign_finding(
        self, countries: list[str | None], find: Callable[[], set[Any] | str]
    ) -> Finding:
        need = _need(countries, ("US",))
        if need == "no":
            return self._finding("registration", "not_needed_recipients", countries="US")
        answer = find()
        if answer in ("many_services", "not_needed_sender"):
            return self._finding("registration", str(answer))
        if isinstance(answer, str):
            return self._not_known("registration", answer)
        if "VERIFIED" in answer:
            return self._finding("registration", "campaign")
        if need == "maybe":
            return self._finding("registration", "campaign_maybe")
        pending = not answer.isdisjoint(_PENDING)
        return self._finding("registration", f"campaign_{'pending' if pending else 'missing'}")

    def _service_campaigns(self) -> set[Any] | str:
        """Return the statuses of the sender's own campaigns, or why there are none."""
        reply = self._reply(self._sender_questions["numbers"])
        if reply.why is not None:
            return reply.why
        try:
            numbers = [str(entry["phone_number"]) for entry in reply.value["phone_numbers"]]
        except (KeyError, TypeError):
            return "unanswered"
        if not any(number.startswith("+1") for number in numbers):
            return "not_needed_sender"
        return _campaigns(self._reply(self._sender_questions["campaigns"]))

    def _campaigns_of_number(self) -> set[Any] | str:
        """Return the statuses of the campaigns of the services that have the sender's number."""
        services = self._reply(self._sender_questions["services"])
        if services.why is not None:
            return services.why
        try:
            sids = [entry["sid"] for entry in services.value["services"]]
            more = services.value["meta"]["next_page_url"] is not None
        except (KeyError, TypeError):
            return "unanswered"
        if not all(isinstance(sid, str) and _SERVICE.fullmatch(sid) for sid in sids):
            return "unanswered"
        asked = [
            (
                self._inquiry.ask(f"/v1/Services/{sid}/PhoneNumbers", host="messaging"),
                self._inquiry.ask(f"/v1/Services/{sid}/Compliance/Usa2p", host="messaging"),
            )
            for sid in sids[:_SERVICES]
        ]
        statuses: set[Any] = set()
        for numbers, campaigns in asked:
            reply = self._reply(numbers)
            if reply.why is not None:
                return reply.why
            try:
                has = any(n["phone_number"] == self._sender for n in reply.value["phone_numbers"])
                more = more or reply.value["meta"]["next_page_url"] is not None
            except (KeyError, TypeError):
                return "unanswered"
            if has:
                answer = _campaigns(self._reply(campaigns))
                if isinstance(answer, str):
                    return answer
                statuses |= answer
        return "many_services" if more and not statuses else statuses

    # Recipients

    def _countries(self) -> list[str | None]:
        """Return each recipient's country, None where it is not known."""
        return [
            None if lookup is None else self._country_of(self._reply(lookup))
            for _, lookup, _ in self._recipients
        ]

    def _recipient_findings(
        self, kind: str | None, countries: list[str | None]
    ) -> Iterator[Finding]:
        permissions = {
            country: (
                self._inquiry.ask(
                    "/v1/Messaging/GeoPermissions", {"CountryCode": country}, host="accounts"
                ),
                self._inquiry.ask(f"/v1/DialingPermissions/Countries/{country}", host="voice"),
            )
            for country in countries
            if country is not None
        }
        for index, (recipient, lookup, caller) in enumerate(self._recipients, 1):
            if lookup is None or caller is None:
                outcome = "malformed"
                if recipient.startswith("whatsapp:"):
                    outcome = "whatsapp"
                elif _SHORT_CODE.fullmatch(recipient):
                    outcome = "short_code"
                yield self._finding("recipient", outcome, index=index)
                continue
            form = self._form_finding(self._reply(lookup), index)
            yield form
            if form.verdict == "fails":
                continue
            yield self._country_finding(self._reply(lookup), permissions, index)
            yield self._verified_finding(kind, self._reply(caller), recipient, index)

    def _form_finding(self, lookup: _Reply, index: int) -> Finding:
        if lookup.why is not None:
            return self._not_known("recipient", lookup.why, index=index)
        value = lookup.value
        if not isinstance(value, dict) or not isinstance(value.get("valid"), bool):
            return self._not_known("recipient", "unanswered", index=index)
        if value["valid"]:
            country = _word(value.get("country_code"))
            return self._finding("recipient", "valid", index=index, country=country)
        problems = value.get("validation_errors")
        listed = problems if isinstance(problems, list) else []
        shown = ", ".join(map(_word, listed)) or "INVALID"
        return self._finding("recipient", "invalid", index=index, errors=shown)

    def _country_finding(
        self, lookup: _Reply, permissions: Mapping[str, tuple[Question, Question]], index: int
    ) -> Finding:
        if lookup.why is not None:
            return self._not_known("country", lookup.why, index=index)
        country = self._country_of(lookup)
        if country is None:
            return self._finding("country", "no_country", index=index)
        sms, calls = (self._reply(question) for question in permissions[country])
        if sms.why is not None:
            return self._not_known("country", sms.why, index=index)
        try:
            entries = [
                entry["enabled"]
                for entry in sms.value["permissions"]
                if entry["country_code"] == country and entry["type"] == "country"
            ]
        except (KeyError, TypeError):
            return self._not_known("country", "unanswered", index=index)
        if len(entries) != 1 or not isinstance(entries[0], bool):
            return self._not_known("country", "unanswered", index=index)
        outcome = "enabled" if entries[0] else "disabled"
        able = calls.value.get("low_risk_numbers_enabled") if isinstance(calls.value, dict) else 0
        if outcome == "enabled" and isinstance(able, bool):
            outcome = "enabled_with_calls" if able else "enabled_without_calls"
        return self._finding("country", outcome, index=index, country=country)

    def _verified_finding(
        self, kind: str | None, caller: _Reply, recipient: str, index: int
    ) -> Finding:
        if kind == "Full":
            return self._finding("verified", "full", index=index)
        if caller.why is not None:
            return self._not_known("verified", caller.why, index=index)
        try:
            verified = any(
                entry["phone_number"] == recipient for entry in caller.value["outgoing_caller_ids"]
            )
        except (KeyError, TypeError):
            return self._not_known("verified", "unanswered", index=index)
        outcome = "verified" if verified else "unverified"
        maybe = "" if kind == "Trial" else "_maybe"
        return self._finding("verified", outcome + maybe, index=index)

    # Answers and texts

    def _reply(self, question: Question, must: bool = False) -> _Reply:
        """Wait for an answer; `must`: raise where there is none."""
        try:
            return _Reply(question.answer())
        except errors.CredentialsRefused as error:
            return _Reply(None, "refused", error.provider_code)
        except errors.Forbidden as error:
            suspended = error.provider_code == "20403"
            return _Reply(None, "suspended" if suspended else "forbidden", error.provider_code)
        except errors.NotFound as error:
            return _Reply(None, "missing", error.provider_code)
        except errors.ConnectorError:
            if must:
                raise
            return _Reply(None, "unanswered")

    def _country_of(self, lookup: _Reply) -> str | None:
        country = lookup.value.get("country_code") if isinstance(lookup.value, dict) else None
        is_code = isinstance(country, str) and re.fullmatch("[A-Z]{2}", country)
        return country if is_code else None

    def _not_known(self, check: str, why: str | None, index: int | None = None) -> Finding:
        """Make the finding for what is not known, with the reason."""
        reason = self._blocked or {"refused": "not_allowed", "forbidden": "not_allowed"}.get(
            why or "", why or "unanswered"
        )
        return self._made(check, self._texts["reasons"][reason], index)

    def _finding(
        self, check: str, outcome: str, index: int | None = None, **values: Any
    ) -> Finding:
        entry = self._texts["checks"][check]["outcomes"][outcome]
        return self._made(check, entry, index, **values)

    def _made(
        self, check: str, entry: Mapping[str, Any], index: int | None, **values: Any
    ) -> Finding:
        described = self._texts["checks"][check]
        text = entry[self._language]
        values |= {"where": described["where"]}
        remedy = text.get("remedy")
        return Finding(
            id=check if index is None else f"{check}.{index}",
            step=described["step"],
            title=described["title"][self._language].format(index=index),
            verdict=entry["verdict"],
            detail=text["detail"].format(**values),
            remedy=remedy.format(**values) if remedy else None,
        )

    def _word(self, name: str) -> str:
        return str(self._texts["words"][name][self._language])


def _has_list(value: Any, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), list)


def _campaigns(reply: _Reply) -> set[Any] | str:
    if reply.why is not None:
        return reply.why
    try:
        return {entry["campaign_status"] for entry in reply.value["compliance"]}
    except (KeyError, TypeError):
        return "unanswered"


def _can_send_sms(number: Any) -> bool:
    return "SMS" in number["capabilities"]


def _need(countries: list[str | None], where: tuple[str, ...]) -> str:
    """Tell whether any recipient is in these countries: yes, no or maybe."""
    if any(country in where for country in countries):
        return "yes"
    return "no" if countries and all(countries) else "maybe"


def _word(value: Any) -> str:
    """Return a word of an answer that is safe to show, or a question mark."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "?"


def _shown(name: Any) -> str:
    """Return a name from outside with every character visible, and not endless."""
    if not isinstance(name, str) or not name:
        return "?"
    visible = "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char)[0] in "CZ" and char != " " else char
        for char in name
    )
    return visible if len(visible) <= 60 else f"{visible[:59]}…"
